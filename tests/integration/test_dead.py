"""`shotwatch dead` on real servers: what is dead-lettered is found, requeued once, or discarded on record."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aio_pika

from shotwatch_common.bus import REASON_HEADER
from shotwatch_common.clock import epoch_now
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_operations.broker.dead_letter_queue import DeadLetter, hold_dead_letters
from shotwatch_operations.dead_letters import DeadLetterFilter, DeadLetters
from shotwatch_shots.batch import ShotsFlagged
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import FileIngested
from shotwatch_shots.vocabulary import ObjectState
from shotwatch_simulator.simulation import Simulation, simulate
from tests.broker import TOPOLOGY
from tests.support.etags import etag_of

from .commands import Result
from .conftest import Running, alter_object, until
from .test_cli import audited, shotwatch

WIDE = {"COLUMNS": "1000"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@asynccontextmanager
async def channel(running: Running) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(running.settings.broker_url.get_secret_value()) as connection:
        yield await connection.channel()


def message_of(body: bytes, reason: str = "") -> aio_pika.Message:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", REASON_HEADER: reason}
    return aio_pika.Message(body, headers=headers, timestamp=datetime.now(UTC))


async def listed(running: Running, *filters: str) -> list[dict[str, object]]:
    return (await shotwatch(running, "dead", "list", "--json", *filters)).documents


async def dead_letter_unknown_batch(running: Running, batch: str) -> str:
    """Have features dead-letter a message; its id."""
    body = ShotsFlagged(batch_id=batch, shots=[0]).model_dump_json().encode()
    async with channel(running) as publishing:
        await publishing.default_exchange.publish(message_of(body), TOPOLOGY.queue_of("detail").name)
    found: list[DeadLetter] = []
    async with await aio_pika.connect(running.settings.broker_url.get_secret_value()) as connection:
        letters = DeadLetters(connection, running.archive, TOPOLOGY)

        async def dead_lettered() -> bool:
            found[:] = await letters.find(DeadLetterFilter("detail", batch))
            return bool(found)

        await until(dead_lettered, "dead_lettered")
    return found[0].id


async def test_what_is_dead_lettered_is_found_by_stage_reason_and_time_with_its_trace(
    running: Running,
) -> None:
    began = datetime.now(UTC)
    identity = await dead_letter_unknown_batch(running, "nobody-knows-1")
    since = ("--reason", "NOBODY-knows-1", "--since")
    (message,) = await listed(running, *since, began.isoformat(timespec="seconds"))
    assert (message["id"], message["stage"], message["trace_id"]) == (identity, "detail", TRACE)
    assert "there is no batch" in str(message["reason"])
    assert await listed(running, *since, "2999-01-01") == []
    assert await listed(running, "--reason", "nobody-knows-1", "--stage", "validate") == []
    (shown,) = (await shotwatch(running, "dead", "show", identity, "--json")).documents
    assert '"batch_id":"nobody-knows-1"' in shown["body"]


async def test_names_from_outside_act_on_no_terminal(running: Running) -> None:
    clipboard = "\x1b]52;c;aGVsbG8=\x07 [red] \u202e\u200b"
    await running.store.put(running.settings.inbox_bucket, f"{clipboard}.h5", b"no snapshot")
    identity = await dead_letter_unknown_batch(running, clipboard)
    await running.judged()
    commands = (
        ("ledger", "--objects", "--limit", "9999"),
        ("dead", "list"),
        ("dead", "show", identity),
        ("status",),
    )
    for command in commands:  # one after the other: while one reads a queue, another does not find all of it
        result = await shotwatch(running, *command, environment=WIDE)
        assert result.exit_code == 0, result.stderr
        assert all(each == "\n" or each.isprintable() for each in result.stdout + result.stderr)
        if "queues" not in result.stdout:
            assert r"\x1b]52;c;aGVsbG8=\x07 [red] \u202e\u200b" in result.stdout


async def test_reading_takes_nothing_away_however_often(running: Running) -> None:
    await dead_letter_unknown_batch(running, "checked-at")
    async with await aio_pika.connect(running.settings.broker_url.get_secret_value()) as connection:
        letters = DeadLetters(connection, running.archive, TOPOLOGY)
        counts = {len(await letters.find(DeadLetterFilter(reason="checked-at"))) for _ in range(25)}
        async with aclosing(hold_dead_letters(connection, "detail", TOPOLOGY)) as broken_off:
            await anext(broken_off)
        counts.add(len(await letters.find(DeadLetterFilter(reason="checked-at"))))
    assert counts == {1}


async def test_what_is_thrown_away_was_asked_for_and_is_gone(running: Running) -> None:
    identity = await dead_letter_unknown_batch(running, "to-be-purged")
    dry = await shotwatch(running, "dead", "purge", identity, "--dry-run", "--json")
    assert [message["id"] for message in dry.documents] == [identity]
    unanswered = await shotwatch(running, "dead", "purge", identity)
    assert unanswered.exit_code == 1
    assert len(await listed(running, "--reason", "to-be-purged")) == 1
    assert await audited(running, f"detail/{identity}") == []
    purged = await shotwatch(running, "dead", "purge", identity, "--yes", "--json")
    assert [message["id"] for message in purged.documents] == [identity]
    assert await audited(running, f"detail/{identity}") == ["purge"]
    assert await listed(running, "--reason", "to-be-purged") == []
    again = await shotwatch(running, "dead", "purge", identity, "--yes")
    assert (again.exit_code, again.stdout) == (1, "nothing purged\n")
    assert identity in again.stderr


async def test_what_fails_again_is_dead_lettered_again_as_one_message(running: Running) -> None:
    identity = await dead_letter_unknown_batch(running, "fails-again")
    result = await shotwatch(running, "dead", "reinject", identity, "--json")
    assert [message["attempts"] for message in result.documents] == [1]

    async def dead_lettered_again() -> bool:
        return [message["id"] for message in await listed(running, "--reason", "fails-again")] == [identity]

    await until(dead_lettered_again, "dead-lettered again")


async def test_a_reinjected_file_goes_its_way_and_the_ledger_reports_it(
    running: Running, tmp_path: Path
) -> None:
    body = await ingested_message(running, tmp_path)
    obj = FileIngested.model_validate_json(body).object
    async with channel(running) as publishing:
        await publishing.default_exchange.publish(
            message_of(body, "gave up"), TOPOLOGY.dead_letter_queue_of("validate").name
        )
    await running.archive.dead_letter("validate", body, "gave up")
    assert await state_of(running, obj.object_id) == ObjectState.DEAD_LETTERED
    (message,) = await listed(running, "--stage", "validate", "--reason", "gave up")
    assert message["object"] == obj.key

    result: Result = await shotwatch(running, "dead", "reinject", str(message["id"]), "--json")
    assert (result.exit_code, len(result.documents)) == (0, 1)
    assert await audited(running, f"validate/{message['id']}: {obj.key}") == ["reinject"]
    await running.judged()
    assert await state_of(running, obj.object_id) == ObjectState.INGESTED
    entry = await running.archive.ledger.find(obj.object_id)
    assert entry is not None
    assert [step.state for step in entry.history][-2:] == ["dead_lettered", "ingested"]
    assert "reinjected" in entry.history[-1].why
    assert await listed(running, "--stage", "validate", "--reason", "gave up") == []


async def test_what_ingest_gave_up_is_left_alone_until_somebody_sends_it_back(
    running: Running, tmp_path: Path
) -> None:
    given_up, later = simulated(running, tmp_path, datetime(2024, 3, 2, 8, tzinfo=UTC))[:2]
    etag = etag_of(given_up.read_bytes())
    size = given_up.stat().st_size
    arrived = ArrivedObject(running.settings.inbox_bucket, given_up.name, etag, size, epoch_now())
    body = build_notification(arrived)
    async with channel(running) as publishing:
        await publishing.default_exchange.publish(
            message_of(body, "gave up"), TOPOLOGY.dead_letter_queue_of("ingest").name
        )
    await running.archive.dead_letter("ingest", body, "gave up")
    # It is stored before it is dead-lettered, by the ledger; here it is not, for the sweep would be faster.
    await alter_object(running, arrived.object_id, since=epoch_now() + 60_000)
    await running.upload(given_up)
    await running.upload(later)

    async def swept() -> bool:
        known = await running.archive.ledger.newest([later.name])
        return [each.state for each in known] == ["ingested"]

    await until(swept, "the later one ingested")
    assert await state_of(running, arrived.object_id) == ObjectState.DEAD_LETTERED
    (message,) = await listed(running, "--stage", "ingest", "--reason", "gave up")
    assert message["object"] == given_up.name
    await shotwatch(running, "dead", "reinject", str(message["id"]))
    await running.judged()
    assert await state_of(running, arrived.object_id) == ObjectState.INGESTED


def simulated(running: Running, folder: Path, start: datetime) -> list[Path]:
    expected = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected is not None
    return list(simulate(Simulation(running.facility, (expected,), start, timedelta(seconds=2)), folder))


async def ingested_message(running: Running, folder: Path) -> bytes:
    """Ingest a file; the message of ingest to validate."""
    files = simulated(running, folder, datetime(2024, 3, 1, 8, tzinfo=UTC))
    async with channel(running) as listening:
        tap = await listening.declare_queue(exclusive=True, auto_delete=True)
        await tap.bind(TOPOLOGY.work.name, "validate.express")
        await running.upload(*files)
        await running.judged()
        message = await tap.get()
        return bytes(message.body)


async def state_of(running: Running, object_id: str) -> str:
    entry = await running.archive.ledger.find(object_id)
    assert entry is not None
    return str(entry.state)
