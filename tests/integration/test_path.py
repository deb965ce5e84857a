"""The path of a shot on real servers, with two replicas of each service: from a file to events."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import aio_pika
import jsonschema

from shotwatch_cli.broker import EventStream
from shotwatch_cli.deployment import settings_of
from shotwatch_cli.events import matching
from shotwatch_common.archive import Archive
from shotwatch_common.archive.measurements import of_shot
from shotwatch_common.clock import epoch_now
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.store import ObjectStore
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_ingest.service import MAX_FILE_BYTES
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.feedback import Statement
from shotwatch_shots.identity import object_id, reason_key
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction, FileReason, ObjectState, Phase
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import inject, plan_injections
from shotwatch_simulator.simulation import Simulation, simulate
from tests.broker import TOPOLOGY
from tests.support.etags import etag_of

from .conftest import REPOSITORY, Running, until

ONE_HZ = ShotSeries.parse("LA-A2-00-1s")
TEN_HZ = ShotSeries.parse("LB-F1-00-100ms")
RULES = (Kind.MISSING_SAMPLE, Kind.FROZEN_FRAME, Kind.BLACK_FRAME, Kind.SATURATED_FRAME, Kind.FAULT)
MINUTE = timedelta(minutes=1)
EVENT_SCHEMA = json.loads(
    (REPOSITORY / "docs" / "schemas" / "AnomalyEvent.v1.json").read_text(encoding="utf-8")
)


def simulation(
    running: Running,
    start: datetime,
    series: ShotSeries = ONE_HZ,
    kinds: Sequence[Kind] = (),
    duration: timedelta = MINUTE,
    seed: int = 1,
) -> Simulation:
    expected_devices = running.facility.expected_devices(series)
    assert expected_devices is not None
    injections = (
        plan_injections(running.facility, [expected_devices], start, duration, kinds=kinds) if kinds else ()
    )
    return Simulation(running.facility, (expected_devices,), start, duration, seed, injections)


async def shots_of(archive: Archive, of: Simulation) -> list[JudgedShot]:
    start = epoch_ms(of.start)
    return await archive.shots.page(
        ShotFilter(area=of.all_expected[0].place),
        start - 1000,
        start + of.duration // timedelta(milliseconds=1) + 1000,
        0,
    )


async def events_of(archive: Archive, of: Simulation) -> list[AnomalyEvent]:
    return await archive.events.of_shots([shot.id for shot in await shots_of(archive, of)])


def expected(of: Simulation) -> set[tuple[str, str]]:
    return {(shot, label.expected) for label in of.labels for shot in label.shots}


async def found(archive: Archive, of: Simulation) -> set[tuple[str, str]]:
    return {(shot.id, kind) for shot in await shots_of(archive, of) for kind in shot.verdict.kinds}


async def test_before_any_model_the_rules_name_every_anomalous_shot_and_no_other(
    running: Running, tmp_path: Path
) -> None:
    minute = simulation(running, datetime(2022, 7, 2, 8, tzinfo=UTC), kinds=RULES)
    await running.upload(*simulate(minute, tmp_path))
    await running.judged()
    events = await events_of(running.archive, minute)
    assert await found(running.archive, minute) == expected(minute)
    assert {event.data.kind for event in events} == {label.expected for label in minute.labels}
    assert len(await shots_of(running.archive, minute)) == 60
    assert all(event.data.model is None for event in events)


async def test_ten_hertz_is_joined_pulse_by_pulse(running: Running, tmp_path: Path) -> None:
    seconds = simulation(running, datetime(2022, 7, 2, 9, tzinfo=UTC), TEN_HZ, duration=timedelta(seconds=5))
    await running.upload(*simulate(seconds, tmp_path))
    await running.judged()
    shots = await shots_of(running.archive, seconds)
    assert len(shots) == 50
    assert all(shot.complete and shot.revision == 1 for shot in shots)
    features = of_shot(await running.archive.measurements.of_batch(shots[7].batch), shots[7].index)
    assert {"energy", "energy_disagreement"} == set(features["LB_F1-EM_1-EnergyMeter-1"])
    assert features["LB_F1-Camera_1-Camera-1"]["total_intensity"] > 0


async def test_a_subscriber_receives_events_by_the_public_contract(running: Running, tmp_path: Path) -> None:
    minute = simulation(running, datetime(2022, 7, 2, 10, tzinfo=UTC), kinds=[Kind.BLACK_FRAME])
    url = running.settings.broker_url.get_secret_value()
    async with EventStream(url, TOPOLOGY).subscription() as events:
        await running.upload(*simulate(minute, tmp_path))
        event = await anext(matching(events, "anomaly.*.LA.A2.00.black_frame"))
    assert (event.subject, event.data.kind) in expected(minute)
    jsonschema.validate(event.model_dump(mode="json", by_alias=True), EVENT_SCHEMA)
    assert event.data.evidence
    await running.judged()


async def test_what_is_snoozed_is_stored_and_not_reported(running: Running, tmp_path: Path) -> None:
    start = datetime(2022, 7, 5, 10, tzinfo=UTC)
    first = simulation(running, start, kinds=[Kind.BLACK_FRAME])
    await running.upload(*simulate(first, tmp_path / "first"))
    await running.judged()
    (event,) = await events_of(running.archive, first)
    now = epoch_now()
    snooze = Statement.about(event, FeedbackAction.SNOOZED, "a test", now, until=now + 600_000)
    await running.archive.feedback.add(snooze)
    second = simulation(running, start + MINUTE, kinds=[Kind.BLACK_FRAME, Kind.SATURATED_FRAME])
    url = running.settings.broker_url.get_secret_value()
    async with EventStream(url, TOPOLOGY).subscription() as events:
        await running.upload(*simulate(second, tmp_path / "second"))
        reported = [(await anext(matching(events, "anomaly.*.LA.A2.00.*"))).data.kind]
    await running.judged()
    stored = {each.data.kind for each in await events_of(running.archive, second)}
    assert stored == {AnomalyKind.BLACK_FRAME, AnomalyKind.SATURATED_FRAME}
    assert reported == [AnomalyKind.SATURATED_FRAME]
    await running.archive.feedback.add(
        Statement.about(event, FeedbackAction.SNOOZED, "a test", epoch_now(), until=epoch_now() + 1)
    )


async def test_a_notification_alone_brings_a_file_in_once(running: Running, tmp_path: Path) -> None:
    minute = simulation(running, datetime(2022, 7, 2, 11, tzinfo=UTC), duration=timedelta(seconds=3))
    bucket = running.settings.inbox_bucket
    notifications: list[tuple[str, str, int]] = []
    for path in simulate(minute, tmp_path):
        key = f"unusual folder/ü+%/{path.name}"
        await running.store.put(bucket, key, path.read_bytes())
        notifications.append((key, await running.store.etag(bucket, key) or "", path.stat().st_size))
    # At once: later than the lateness of the test's facility, a file would make a second revision.
    await asyncio.gather(*(notify(running, bucket, *each) for each in notifications * 3))
    await running.judged()
    shots = await shots_of(running.archive, minute)
    assert [shot.revision for shot in shots] == [1, 1, 1]
    assert [shot for shot in shots if not shot.complete] == []


async def notify(
    running: Running, bucket: str, key: str, etag: str, size: int, at: str = "2022-07-02T11:00:00.000Z"
) -> None:
    """What MinIO's AMQP target publishes when an object was put `at` a time by the store's clock."""
    envelope = {
        "EventName": "s3:ObjectCreated:Put",
        "Key": f"{bucket}/{key}",
        "Records": [
            {
                "eventVersion": "2.0",
                "eventSource": "minio:s3",
                "eventName": "s3:ObjectCreated:Put",
                "eventTime": at,
                "s3": {
                    "bucket": {"name": bucket},
                    "object": {"key": quote_plus(key), "size": size, "eTag": etag, "sequencer": "1"},
                },
            }
        ],
    }
    async with await aio_pika.connect(running.settings.broker_url.get_secret_value()) as connection:
        exchange = await (await connection.channel()).get_exchange(TOPOLOGY.objects.name)
        await exchange.publish(aio_pika.Message(json.dumps(envelope).encode()), routing_key="")


async def test_every_object_ends_in_one_state_with_its_reason(running: Running, tmp_path: Path) -> None:
    good = next(simulate(simulation(running, datetime(2022, 7, 3, 8, tzinfo=UTC)), tmp_path)).read_bytes()
    name = "LA_Camera-{}_1s_snapshot_2022-07-03_08-00-00.h5"
    contents = {
        name.format("empty"): (b"", ObjectState.REJECTED, FileReason.EMPTY),
        name.format("huge"): (bytes(MAX_FILE_BYTES + 1), ObjectState.REJECTED, FileReason.TOO_LARGE),
        name.format("text"): (b"504 Gateway Time-out\n" * 9, ObjectState.REJECTED, FileReason.NOT_HDF5),
        name.format("cut"): (good[: len(good) // 2], ObjectState.REJECTED, FileReason.TRUNCATED),
        "notes.txt": (b"not a snapshot", ObjectState.IGNORED, ""),
        name.format("good"): (good, ObjectState.INGESTED, ""),
    }
    inbox = running.settings.inbox_bucket
    ids = {}
    for key, (content, _, _) in contents.items():
        await running.store.put(inbox, key, content)
        ids[key] = object_id(inbox, key, await running.store.etag(inbox, key) or "")
    await running.judged()
    places = {}
    for key, (content, state, reason) in contents.items():
        entry = await running.archive.ledger.find(ids[key])
        assert entry is not None
        assert (key, entry.state, entry.reason) == (key, state, reason)
        places[key] = entry.location
        assert await running.store.get(*places[key]) == content

    def kept_as(key: str) -> str:
        stem, _, extension = key.rpartition(".")
        return f"{stem}@{etag_of(contents[key][0])}.{extension}"

    good_key, cut_key = name.format("good"), name.format("cut")
    assert places[good_key] == ("data", f"2022-07-03/{kept_as(good_key)}")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert places["notes.txt"] == ("data", f"{today}/ignored/{kept_as('notes.txt')}")
    bucket, key = places[cut_key]
    assert (bucket, key.partition("/")[2]) == ("errors", f"{FileReason.TRUNCATED}/{kept_as(cut_key)}")
    why = await running.store.get(bucket, reason_key(key))
    assert name.format("cut") in json.loads(why)["detail"]


async def test_names_that_a_store_takes_only_in_the_inbox_are_settled_like_others(running: Running) -> None:
    """A file of 248 characters fits, and does not once a suffix is added to it."""
    long = f"LA_{'l' * 210}_1s_snapshot_2022-07-06_06-32-00.h5"
    inbox = running.settings.inbox_bucket
    await running.store.put(inbox, long, b"not hdf5 at all")
    identity = object_id(inbox, long, await running.store.etag(inbox, long) or "")
    await running.judged()
    entry = await running.archive.ledger.find(identity)
    assert entry is not None
    assert (entry.state, entry.reason) == (ObjectState.REJECTED, FileReason.NOT_HDF5)
    assert len(entry.history) == 2, "settled at the first attempt"
    place = entry.location
    assert await running.store.get(*place) == b"not hdf5 at all"


async def test_an_event_of_an_object_that_is_not_there_or_cannot_be_settles_it(running: Running) -> None:
    bucket = running.settings.inbox_bucket
    keys = ["withdrawn.tmp", "a/./b", "../../etc/passwd", "lab/../LA_x_1s_snapshot_2022-07-06_08-00-00.h5"]
    for key in keys:
        await notify(running, bucket, key, "0" * 32, 5)
    ids = [object_id(bucket, key, "0" * 32) for key in keys]

    async def settled() -> bool:
        entries = [await running.archive.ledger.find(identity) for identity in ids]
        return all(each and (each.state, each.location) == (ObjectState.IGNORED, None) for each in entries)

    await until(settled, "settled as ignored, and nowhere")


async def test_the_version_that_was_stored_last_counts_whatever_its_event_states(
    running: Running, tmp_path: Path
) -> None:
    start = datetime(2022, 7, 2, 17, tzinfo=UTC)
    first = simulation(running, start, duration=timedelta(seconds=3))
    second = simulation(running, start, duration=timedelta(seconds=3), seed=2)
    files = list(simulate(first, tmp_path / "first"))
    await running.upload(*files)
    await running.judged()
    bucket, camera = running.settings.inbox_bucket, next(path for path in files if "Camera-1" in path.name)
    first_etag = etag_of(camera.read_bytes())
    of_first = object_id(bucket, camera.name, first_etag)
    newer = next(path for path in simulate(second, tmp_path / "second") if path.name == camera.name)
    await running.store.put(bucket, newer.name, newer.read_bytes())
    etag = await running.store.etag(bucket, newer.name) or etag_of(newer.read_bytes())
    await notify(running, bucket, newer.name, etag, newer.stat().st_size)  # an event of the year 2022
    await running.judged()
    await notify(running, bucket, camera.name, first_etag, 1)  # the first version's, once more
    other = simulation(running, start + MINUTE, duration=timedelta(seconds=2))
    await running.upload(*simulate(other, tmp_path / "other"))
    await running.judged()
    shots = await shots_of(running.archive, first)
    assert [shot.revision for shot in shots] == [2] * 3
    batch = await running.archive.batches.find(shots[0].batch)
    assert batch is not None
    (member,) = [each for each in batch.members if each.device == "LA_A2-Camera_1-Camera-1"]
    assert {member.blocks[source].object_id for source in member.source} == {
        object_id(bucket, newer.name, etag)
    }
    newest = {each.ref.key: each.ref.object_id for each in await running.archive.ledger.newest([camera.name])}
    assert newest[camera.name] == object_id(bucket, newer.name, etag) != of_first
    for identity, version in ((of_first, camera), (newest[camera.name], newer)):
        entry = await running.archive.ledger.find(identity)
        assert entry is not None
        assert entry.state == ObjectState.INGESTED
        kept = await running.store.get(*entry.location)
        assert kept == version.read_bytes(), "a later version overwrites none"


async def test_a_dead_lettered_object_waits_for_a_person_or_for_being_stored_again(
    running: Running, tmp_path: Path
) -> None:
    start = datetime(2022, 7, 2, 18, tzinfo=UTC)
    (path, *_) = simulate(simulation(running, start, duration=timedelta(seconds=2)), tmp_path / "given up")
    bucket, etag = running.settings.inbox_bucket, etag_of(path.read_bytes())
    identity = object_id(bucket, path.name, etag)
    found = ArrivedObject(bucket, path.name, etag, path.stat().st_size, epoch_now())
    await running.archive.dead_letter("ingest", build_notification(found), "a test")
    await notify(running, bucket, path.name, etag, path.stat().st_size)  # an event of the year 2022
    other = simulation(running, start + MINUTE, duration=timedelta(seconds=2))
    await running.upload(*simulate(other, tmp_path / "other"))
    await running.judged()
    entry = await running.archive.ledger.find(identity)
    assert entry is not None
    assert entry.state == ObjectState.DEAD_LETTERED
    await until(lambda: later_than(entry.since), "the next second, as stores give times in seconds")
    await running.upload(path)
    await running.judged()
    entry = await running.archive.ledger.find(identity)
    assert entry is not None
    assert entry.state == ObjectState.INGESTED


async def later_than(epoch_ms: int) -> bool:
    return epoch_now() // 1000 > epoch_ms // 1000


async def test_a_file_sent_again_is_a_new_revision_and_withdraws_what_is_no_longer_true(
    running: Running, tmp_path: Path
) -> None:
    start = datetime(2022, 7, 2, 12, tzinfo=UTC)
    expected_devices = running.facility.expected_devices(ONE_HZ)
    assert expected_devices is not None
    quiet = simulation(running, start, duration=timedelta(seconds=10))
    black = inject(running.facility, expected_devices, Kind.BLACK_FRAME, epoch_ms(start) + 4000)
    anomalous = Simulation(running.facility, (expected_devices,), start, quiet.duration, 1, (black,))
    await running.upload(*simulate(anomalous, tmp_path / "anomalous"))
    await running.judged()
    assert await found(running.archive, anomalous) == expected(anomalous)

    files = {path.name: path for path in simulate(quiet, tmp_path / "quiet")}
    await running.upload(next(path for name, path in files.items() if "Camera-1" in name))
    await running.judged()
    shots = await shots_of(running.archive, quiet)
    assert [shot.revision for shot in shots] == [2] * 10
    assert all(shot.complete for shot in shots)
    before, after = sorted(await events_of(running.archive, quiet), key=lambda event: event.data.sequence)
    assert before.data.kind is AnomalyKind.BLACK_FRAME
    assert after.data.kind is AnomalyKind.SUPERSEDED
    assert after.data.supersedes == [before.id]


async def test_a_file_sent_again_leaves_nothing_in_minutes_that_it_no_longer_covers(
    running: Running, tmp_path: Path
) -> None:
    start = datetime(2022, 7, 2, 16, tzinfo=UTC)
    first = simulation(running, start, duration=timedelta(seconds=3))
    second = simulation(running, start + MINUTE, duration=timedelta(seconds=3))
    await running.upload(*simulate(first, tmp_path / "first"))
    await running.judged()
    mistaken = next(path for path in simulate(second, tmp_path / "second") if "Camera-1" in path.name)
    name = next(path.name for path in (tmp_path / "first").iterdir() if "Camera-1" in path.name)
    await running.upload(mistaken.rename(tmp_path / name))
    await running.judged()
    shots = await shots_of(running.archive, first)
    assert [shot.missing for shot in shots] == [("LA_A2-Camera_1-Camera-1",)] * 3
    assert [shot.revision for shot in shots] == [2] * 3


async def test_a_device_whose_file_is_missing_is_noticed_at_the_deadline(
    running: Running, tmp_path: Path
) -> None:
    first = simulation(running, datetime(2022, 7, 2, 13, tzinfo=UTC), duration=timedelta(seconds=3))
    await running.upload(*simulate(first, tmp_path / "first"))
    await running.judged()
    then = simulation(running, datetime(2022, 7, 2, 13, 1, tzinfo=UTC), duration=timedelta(seconds=3))
    files = list(simulate(then, tmp_path / "then"))
    await running.upload(*(path for path in files if "EM-1" not in path.name))
    await running.judged()
    shots = await shots_of(running.archive, then)
    assert [shot.missing for shot in shots] == [("LA_A2-EM_1-EnergyMeter-1",)] * 3
    assert await found(running.archive, then) == {(shot.id, AnomalyKind.MISSING_MEMBER) for shot in shots}
    (event,) = await events_of(running.archive, then)
    assert event.data.phase in (Phase.OPENED, Phase.PASSED)
    assert event.data.shots == 3
    assert (event.data.since, event.data.until) == (shots[0].pulse, shots[2].pulse)


async def test_one_trace_runs_from_the_object_event_to_the_anomaly_event(
    running: Running, tmp_path: Path
) -> None:
    minute = simulation(running, datetime(2022, 7, 2, 14, tzinfo=UTC), kinds=[Kind.BLACK_FRAME])
    await running.upload(*simulate(minute, tmp_path))
    await running.judged()
    (event,) = await events_of(running.archive, minute)
    trace: list[dict[str, Any]] = []

    async def unbroken() -> bool:
        trace[:] = [span for span in spans(running.stack) if trace_id_of(span) == event.data.trace_id]
        ids = {span["context"]["span_id"] for span in trace}
        roots = [span for span in trace if span["parent_id"] is None]
        through = {service_of(span).removeprefix("shotwatch-") for span in trace}
        return (
            through == {"ingest", "validate", "aggregate", "features", "inference"}
            and len(roots) == 1
            and all(span["parent_id"] in ids for span in trace if span not in roots)
        )

    await until(unbroken, "one exported trace through all services, each span but the first with its parent")
    links = [link for span in trace if service_of(span) == "shotwatch-aggregate" for link in span["links"]]
    linked = {link["context"]["trace_id"] for link in links}
    assert len(linked) == len(minute.all_expected[0].devices), (
        "the join links the trace of every member's file"
    )
    sent = [span for span in spans(running.stack) if "messaging.system" in span["attributes"]]
    published = {
        f"{exchange.name} {action}" for exchange in TOPOLOGY.exchanges for action in ("create", "publish")
    }
    consumed = {f"{queue.name} {action}" for queue in TOPOLOGY.queues for action in ("create", "process")}
    names = {span["name"] for span in sent}
    assert names <= published | consumed, "a collector makes a histogram of each name"
    assert {"shotwatch.work publish", "anomalies publish"} <= names
    assert names & {f"{queue.name} process" for queue in TOPOLOGY.consumed_queues_of("validate")}
    keys = {span["attributes"]["messaging.rabbitmq.destination.routing_key"] for span in sent}
    assert event.routing_key in keys
    assert keys & {queue.routing() for queue in TOPOLOGY.consumed_queues_of("features")}


def spans(stack: Stack) -> list[dict[str, Any]]:
    lines = (line for path in (stack.folder / "traces").iterdir() for line in path.open(encoding="utf-8"))
    return [json.loads(line) for line in lines if line.endswith("\n")]


def trace_id_of(span: dict[str, Any]) -> str:
    return str(span["context"]["trace_id"]).removeprefix("0x")


def service_of(span: dict[str, Any]) -> str:
    return str(span["resource"]["attributes"]["service.name"])


async def test_a_message_that_is_not_ours_is_dead_lettered_and_the_one_behind_it_is_handled(
    running: Running, tmp_path: Path
) -> None:
    url = running.settings.broker_url.get_secret_value()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        validate = TOPOLOGY.express_queue_of("validate").name
        for garbage in (b"", b"garbage", b"{}", b"[" * 100_000):
            await channel.default_exchange.publish(aio_pika.Message(garbage), validate)
        minute = simulation(running, datetime(2022, 7, 2, 15, tzinfo=UTC), duration=timedelta(seconds=2))
        await running.upload(*simulate(minute, tmp_path))
        await running.judged()
        assert len(await shots_of(running.archive, minute)) == 2
        dead_lettered = await channel.declare_queue(
            TOPOLOGY.dead_letter_queue_of("validate").name, passive=True
        )
        assert dead_lettered.declaration_result.message_count == 4


async def test_one_replica_beside_gives_the_same_shots_and_events_as_two(
    running: Running, tmp_path: Path
) -> None:
    minute = simulation(running, datetime(2022, 7, 4, 8, tzinfo=UTC), kinds=RULES)
    files = list(simulate(minute, tmp_path / "files"))
    await running.upload(*files)
    facility, reader = running.settings.facility, running.stack.environment("inference")
    registry = {name: value for name, value in reader.items() if name.startswith("SHOTWATCH_MODELS_")}
    async with Stack.claim(tmp_path, "beside", facility=facility, settings=registry) as beside:
        beside.start_services(spec for spec in path_services() if spec.name != "query")
        await beside.services_ready()
        settings = settings_of(beside.environment())
        async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
            alone = Running(beside, settings, running.facility, store, archive)
            await alone.upload(*reversed(files))
            await alone.judged()
            await running.judged()
            assert await account(alone, minute) == await account(running, minute)


async def account(running: Running, of: Simulation) -> list[Any]:
    """Shots and events without the times at which things happened, and without what names a replica."""
    unlike = {"judged_at", "trace_id", "batch", "index"}
    shots = [
        {name: value for name, value in asdict(shot).items() if name not in unlike}
        for shot in await shots_of(running.archive, of)
    ]
    events = sorted(
        (event.id, event.data.kind, event.data.why) for event in await events_of(running.archive, of)
    )
    return [shots, events]
