"""Inputs that did harm end as they should, on the running stack, and harm nobody else.

Each test ends with a good file that is stored behind the bad ones and judged; no service restarts, and
nothing is dead-lettered. The files of `shared/cases` are used where they are present; inputs of the same kind
are made here always.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aio_pika
import h5py
import numpy as np
import pytest

from shotwatch_common.archive.measurements import of_shot
from shotwatch_common.topology import STAGES
from shotwatch_embedded.status import Role
from shotwatch_shots.ledger import ObjectEntry
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_shots.vocabulary import AnomalyKind, FileReason, ObjectState
from shotwatch_simulator.simulation import Simulation, simulate
from tests.broker import TOPOLOGY
from tests.support.etags import etag_of

from .conftest import REPOSITORY, Running
from .test_path import notify

CASES = REPOSITORY.parent / "shared" / "cases"
GOOD = datetime(2022, 8, 1, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALL_TIME = 0, 2**52
_minutes = count()

Write = Callable[[h5py.File], None]


@pytest.fixture(autouse=True)
async def nobody_else_is_harmed(running: Running, tmp_path: Path) -> AsyncIterator[None]:
    """A good file that comes behind is judged; no service restarted, and nothing was dead-lettered."""
    before = await state(running)
    yield
    await good_shots_are_judged(running, "LA-FSD-00-1s", GOOD + next(_minutes) * MINUTE, tmp_path / "good")
    assert await state(running) == before


async def good_shots_are_judged(running: Running, series: str, start: datetime, folder: Path) -> None:
    """Upload the files of a place's first two shots: each of them is judged, and complete."""
    expected = running.facility.expected_devices(ShotSeries.parse(series))
    assert expected is not None
    period = running.facility.interval(expected.interval).period_ms
    good = Simulation(running.facility, (expected,), start, timedelta(milliseconds=2 * period), 1)
    await running.upload(*simulate(good, folder))
    await running.judged()
    begin = epoch_ms(start) - period // 2
    shots = await running.archive.shots.page(ShotFilter(area=expected.place), begin, begin + 2 * period, 0)
    assert [shot.complete for shot in shots] == [True, True]


async def state(running: Running) -> tuple[Mapping[str, tuple[int | None, int]], Mapping[str, int]]:
    """The process of each service and its restarts, and how many messages of each stage are dead-lettered."""
    services = {
        each.name: (each.pid, each.restarts) for each in running.stack.status() if each.role is Role.SERVICE
    }
    async with await aio_pika.connect(running.settings.broker_url.get_secret_value()) as connection:
        channel = await connection.channel()
        names = {stage: TOPOLOGY.dead_letter_queue_of(stage).name for stage in STAGES}
        queues = {stage: await channel.declare_queue(name, passive=True) for stage, name in names.items()}
    return services, {s: queue.declaration_result.message_count or 0 for s, queue in queues.items()}


def snapshot(folder: Path, name: str, write: Write) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        write(file)
    return folder / name


def meter(file: h5py.File, path: str, state: Any = b"ON", energy: float = 4.0) -> None:
    """One record of an energy meter."""
    group = file.create_group(path)
    group["STATE"] = np.bytes_(state) if isinstance(state, bytes) else state
    group["energy1Corrected"] = energy
    group["energy2Corrected"] = energy


def shared(case: str, into: Path) -> list[Path]:
    """The files of a shared case, made by its script where it has one."""
    folder = CASES / case
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    into.mkdir(parents=True, exist_ok=True)
    script = folder / "make.py"
    if not script.is_file():
        return sorted(path for path in folder.iterdir() if path.name != "README.md")
    subprocess.run([sys.executable, str(script)], cwd=into, check=True, capture_output=True, timeout=120)
    return sorted(path for path in into.rglob("*") if path.is_file())


async def settled(running: Running, paths: Sequence[Path]) -> dict[str, ObjectEntry]:
    """Upload the files one after the other and wait; the ledger's entry of each, by its key."""
    for path in paths:
        await running.store.put(running.settings.inbox_bucket, path.name, path.read_bytes())
    await running.judged()
    entries = await running.archive.ledger.newest([path.name for path in paths])
    return {entry.ref.key: entry for entry in entries}


def outcome(entry: ObjectEntry) -> tuple[str, str]:
    return entry.state, entry.reason


async def shots_at(running: Running, start: datetime, place: str) -> list[JudgedShot]:
    begin = epoch_ms(start)
    return await running.archive.shots.page(
        ShotFilter(area=Place.parse(place)), begin - 1000, begin + 61_000, 0
    )


# --- names, places, times ---


def _made_up_names(file: h5py.File) -> None:
    meter(file, "07-33-00-100/LA_A1_11-EM_1-EnergyMeter-1")
    first = file["07-33-00-100/LA_A1_11-EM_1-EnergyMeter-1"]
    for n in range(3000):
        file["07-33-00-100"][f"LA_A1_11-made_up_{n:06d}"] = first


def _other_places_and_days(file: h5py.File) -> None:
    meter(file, "00-00-00-000/LA_A1_11-EM_1-EnergyMeter-1")
    first = file["00-00-00-000/LA_A1_11-EM_1-EnergyMeter-1"]
    for hour in range(24):
        moment = file.require_group(f"{hour:02d}-00-00-000")
        for amp in ("F1", "F2", "A1_11", "A1_12", "A2", "A3_31", "A3_32", "TW_DI", "FSD", "XP_DI"):
            for frontend in ("LA", "LB"):
                moment[f"{frontend}_{amp}-x"] = first


async def test_made_up_names_and_places_do_not_multiply(running: Running, tmp_path: Path) -> None:
    names = snapshot(tmp_path, "LA_evil_100ms_snapshot_2022-08-02_07-33-00.h5", _made_up_names)
    same_minute = datetime(2022, 8, 2, 7, 33, 10, tzinfo=UTC)
    await good_shots_are_judged(running, "LA-A1-11-100ms", same_minute, tmp_path / "before")
    places = snapshot(tmp_path, "LA_p_60s_snapshot_2022-08-03_00-00-00.h5", _other_places_and_days)
    entries = await settled(running, [names, places])
    assert entries[names.name].state == ObjectState.INGESTED
    assert entries[names.name].facts["devices"] <= 17, "what is expected, and a handful of others"
    assert entries[names.name].facts["skipped"] > 2900
    windows = await running.archive.windows.between(*ALL_TIME)
    of_places = [window for window in windows if places.name in window.files]
    assert 0 < len(of_places) <= 10, "one minute of one frontend"
    await good_shots_are_judged(running, "LA-A1-11-100ms", same_minute + MINUTE / 2, tmp_path / "after")


async def test_shared_hostile_files_harm_only_themselves(running: Running, tmp_path: Path) -> None:
    files = {path.name.split("_")[1] + path.name[-14:-12]: path for path in shared("hostile", into=tmp_path)}
    bad = [path for name, path in files.items() if not name.startswith("honest")]
    honest = [path for name, path in files.items() if name.startswith("honest")]
    entries = await settled(running, bad)
    by_letter = {name.split("_")[1]: entry for name, entry in entries.items()}
    assert outcome(by_letter["r"]) == (ObjectState.REJECTED, FileReason.IMPOSSIBLE_TIME)
    assert {name for name, entry in by_letter.items() if entry.state == ObjectState.INGESTED} <= {
        "evil",
        "p",
        "slash",
        "ansi",
    }
    for entry in by_letter.values():
        assert entry.state in (ObjectState.INGESTED, ObjectState.REJECTED)
        assert str(entry.detail).isprintable()
    windows = await running.archive.windows.between(*ALL_TIME)
    assert sum(any("LA_p_60s" in key for key in window.files) for window in windows) <= 40
    after = await settled(running, honest)
    assert {entry.state for entry in after.values()} == {ObjectState.INGESTED}
    for day in (4, 5):
        assert await shots_at(running, datetime(2022, 7, day, 7, 33, tzinfo=UTC), "LB-F1-00")


async def test_names_and_states_that_command_a_terminal_are_refused_or_escaped(
    running: Running, tmp_path: Path
) -> None:
    def write(file: h5py.File) -> None:
        meter(file, "07-33-00-100/LA_A1_11-EM_1-EnergyMeter-1", b"\x1b[31mON\xe2\x80\xae")
        meter(file, "07-33-00-100/LA_A1_11-<script>\x1b[2J\u202e")
        file["07-33-00-100"].create_group("LA_A1_11-\u2066")

    ansi = snapshot(tmp_path, "LA_ansi_60s_snapshot_2022-08-01_07-33-00.h5", write)
    entries = await settled(running, [ansi])
    assert outcome(entries[ansi.name]) == (ObjectState.INGESTED, "")
    assert entries[ansi.name].facts["devices"] == 1
    device = "LA_A1_11-EM_1-EnergyMeter-1"
    start = epoch_ms(datetime(2022, 8, 1, 7, 33, tzinfo=UTC))
    records = await running.archive.records.of_device(device, start, start + 60_000)
    assert [state.isprintable() for state in records.states] == [True]
    assert records.states != ("ON",)


@pytest.mark.parametrize("date", ["2099-01-01", "9999-12-31"])
async def test_a_clock_of_the_future_is_refused_and_pins_nothing(
    running: Running, tmp_path: Path, date: str
) -> None:
    device = "LB_FSD-EM_2-EnergyMeter-2"

    def write(file: h5py.File) -> None:
        for second in range(3):
            meter(file, f"23-59-0{second}-000/{device}")

    future = snapshot(tmp_path, f"LB_CC02-Recorder_1s_snapshot_{date}_23-59-00.h5", write)
    entries = await settled(running, [future])
    assert outcome(entries[future.name]) == (ObjectState.REJECTED, FileReason.IMPOSSIBLE_TIME)
    assert device in entries[future.name].detail
    last = (await running.archive.devices.last_states([device])).get(device)
    assert last is None or last.time < epoch_ms(datetime.now(UTC)) + 300_000


async def test_a_record_just_before_midnight_belongs_to_the_day_before(
    running: Running, tmp_path: Path
) -> None:
    def write(file: h5py.File) -> None:
        for stamp in ("23-59-59-990", "00-00-00-990", "00-00-01-990"):
            meter(file, f"{stamp}/LB_FSD-EM_1-EnergyMeter-1")

    path = snapshot(tmp_path, "LB_EM-1-FSD_1s_snapshot_2022-08-05_00-00-00.h5", write)
    await settled(running, [path])
    midnight = datetime(2022, 8, 5, tzinfo=UTC)
    shots = await shots_at(running, midnight, "LB-FSD-00")
    assert [shot.pulse - epoch_ms(midnight) for shot in shots] == [0, 1000, 2000]
    (state,) = (await running.archive.records.of_device("LB_FSD-EM_1-EnergyMeter-1", *ALL_TIME)).states
    assert state == "ON"


@pytest.mark.parametrize("interval", ["10s", "500ms", "0s", "1000ms"])
async def test_an_interval_that_is_not_listed_is_settled_at_ingest(
    running: Running, tmp_path: Path, interval: str
) -> None:
    def write(file: h5py.File) -> None:
        meter(file, "01-00-00-000/LA_A2-EM_1-EnergyMeter-1")

    path = snapshot(tmp_path, f"LA_iv_{interval}_snapshot_2022-08-01_01-00-00.h5", write)
    entries = await settled(running, [path])
    assert outcome(entries[path.name]) == (ObjectState.REJECTED, FileReason.UNKNOWN_INTERVAL)
    assert interval in entries[path.name].detail


async def test_two_healthy_devices_half_a_period_apart_lose_nothing(running: Running, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    start = datetime(2022, 8, 6, 10, tzinfo=UTC)
    paths = []
    for meter_number, phase in ((1, 0), (2, 500)):
        device = f"LB_A2-EM_{meter_number}-EnergyMeter-{meter_number}"
        for minute in range(2):
            times = 1000 * np.arange(60) + phase + (np.round(5 * rng.normal(size=60)) if phase else 0)

            def write(
                file: h5py.File, times: Any = times, minute: int = minute, device: str = device
            ) -> None:
                for n, time in enumerate(times.astype(int)):
                    second, millisecond = divmod(int(time), 1000)
                    meter(file, f"10-0{minute}-{second:02d}-{millisecond:03d}/{device}", energy=4 + n / 1000)

            name = f"LB_EM-{meter_number}_1s_snapshot_2022-08-06_10-0{minute}-00.h5"
            paths.append(snapshot(tmp_path, name, write))
    entries = await settled(running, paths)
    assert [(e.facts["off_grid"], e.facts["second_samples"]) for e in entries.values()] == [(0, 0)] * 4
    shots = [
        shot
        for minute in range(2)
        for shot in await running.archive.shots.page(
            ShotFilter(area=Place.parse("LB-A2-00")),
            epoch_ms(start + minute * MINUTE),
            epoch_ms(start + (minute + 1) * MINUTE),
            0,
        )
    ]
    meters = {"LB_A2-EM_1-EnergyMeter-1", "LB_A2-EM_2-EnergyMeter-2"}
    whole = [shot for shot in shots if not meters & set(shot.missing)]
    assert len(whole) >= 119, "all but at most one at an end of the recording"
    missing = [shot for shot in whole if AnomalyKind.MISSING_MEMBER in shot.verdict.kinds]
    assert not [shot for shot in missing if meters & set(shot.missing)]


# --- notifications, messages, names of objects ---


async def test_a_test_event_is_passed_over(running: Running) -> None:
    body = b'{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "inbox", "RequestId": "0"}'
    async with await aio_pika.connect(running.settings.broker_url.get_secret_value()) as connection:
        exchange = await (await connection.channel()).get_exchange(TOPOLOGY.objects.name)
        await exchange.publish(aio_pika.Message(body), routing_key="")


async def test_the_version_stored_last_counts_whatever_the_time_of_its_notification(
    running: Running, tmp_path: Path
) -> None:
    """The store's clock was set back between the two versions of a file."""
    device, start = "LB_FSD-EM_1-EnergyMeter-1", datetime(2022, 8, 9, 9, tzinfo=UTC)
    name = "LB_EM-1-FSD_1s_snapshot_2022-08-09_09-00-00.h5"
    for energy, at in ((4.0, "2022-08-09T10:00:00Z"), (3.0, "2022-08-09T09:00:00Z")):

        def write(file: h5py.File, energy: float = energy) -> None:
            for second in range(3):
                meter(file, f"09-00-0{second}-000/{device}", energy=energy)

        path = snapshot(tmp_path, name, write)
        bucket = running.settings.inbox_bucket
        await running.store.put(bucket, name, path.read_bytes())
        etag = await running.store.etag(bucket, name)
        assert etag is not None
        await notify(running, bucket, name, etag, path.stat().st_size, at)
        await running.judged()
    found = await shots_at(running, start, "LB-FSD-00")
    features = [
        of_shot(await running.archive.measurements.of_batch(shot.batch), shot.index)[device] for shot in found
    ]
    assert [shot.revision for shot in found] == [2, 2, 2]
    assert [each["energy"] for each in features] == pytest.approx([3.0, 3.0, 3.0])
    (entry,) = await running.archive.ledger.newest([name])
    assert outcome(entry) == (ObjectState.INGESTED, "")
    assert entry.ref.etag == etag_of(path.read_bytes())


async def test_shared_cases_with_one_outcome(running: Running, tmp_path: Path) -> None:
    """Intervals, long names, an enumerated state, records just before midnight, and a clock of the future."""
    cases = ("04-interval-not-listed", "11-long-names", "19-enumerated-state", "02-midnight")
    paths = {f"public/{case}": shared(f"public/{case}", into=tmp_path / case) for case in cases}
    entries = await settled(running, [path for case in paths.values() for path in case])

    def of(case: str) -> list[tuple[str, str]]:
        return sorted(outcome(entries[path.name]) for path in paths[case])

    assert of("public/04-interval-not-listed") == [(ObjectState.REJECTED, FileReason.UNKNOWN_INTERVAL)] * 4
    assert (ObjectState.REJECTED, FileReason.NOT_HDF5) in of("public/11-long-names")
    assert of("public/19-enumerated-state") == [(ObjectState.INGESTED, "")]
    assert of("public/02-midnight") == [(ObjectState.INGESTED, "")] * 3
    midnight = datetime(2024, 5, 2, tzinfo=UTC)
    first, *_ = await shots_at(running, midnight, "LB-FSD-00")
    assert first.pulse == epoch_ms(midnight)
    camera = "LA_A2-Camera_1-Camera-1"
    (start, end) = (epoch_ms(datetime(2024, 3, 5, 1, tzinfo=UTC)) + offset for offset in (0, 60_000))
    assert (await running.archive.records.of_device(camera, start, end)).states == ("ON",)


async def test_a_file_whose_message_no_broker_takes_is_settled(running: Running, tmp_path: Path) -> None:
    """86 MiB of records of one meter, each with a problem: its message would have 17 MiB."""
    (path,) = shared("public/12-message-above-16MiB", into=tmp_path)
    entries = await settled(running, [path])
    assert entries[path.name].state in (ObjectState.REJECTED, ObjectState.INGESTED)
    assert entries[path.name].facts.get("records", 0) <= 2000
