"""`shotwatch reprocess` on real servers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from shotwatch_common.archive.measurements import Source
from shotwatch_common.archive.shots import ANY_SHOT
from shotwatch_common.archive.windows import NEVER
from shotwatch_operations import reprocessing
from shotwatch_operations.reprocessing import Minute, Reprocessing, ReprocessingRequest, ReprocessingStopped
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import ObjectState
from shotwatch_simulator.simulation import Simulation, simulate

from .conftest import FOREVER_MS, Running, alter_object
from .test_cli import audited, shotwatch

START = datetime(2024, 5, 1, 8, tzinfo=UTC)
SPAN = (epoch_ms(START), epoch_ms(START + timedelta(minutes=1)))
WHEN = ("--from", START.isoformat(), "--to", (START + timedelta(minutes=1)).isoformat())


def simulated(running: Running, folder: Path, start: datetime) -> list[Path]:
    expected = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected is not None
    return list(simulate(Simulation(running.facility, (expected,), start, timedelta(seconds=5)), folder))


async def shots(running: Running) -> dict[str, JudgedShot]:
    return {shot.id: shot for shot in await running.archive.shots.page(ANY_SHOT, *SPAN, 0)}


async def blocks(running: Running) -> set[str]:
    prefix = f"{START:%Y-%m-%d}/"
    return {found.key async for found in running.store.list(running.settings.block_bucket, prefix)}


async def windows(running: Running) -> Sequence[str]:
    return [window.id for window in await running.archive.windows.between(*SPAN)]


@pytest.fixture(scope="module")
async def recorded(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    files = simulated(running, tmp_path_factory.mktemp("recorded"), START)
    await running.upload(*files)
    await running.judged()
    return files


async def lie_as_before_versions(running: Running, files: Sequence[Path]) -> None:
    """Put raw files where they lay before their keys had versions (ADR 22)."""
    for each in await running.archive.ledger.newest([path.name for path in files]):
        (bucket, key), earlier = each.location, f"{START:%Y-%m-%d}/{each.ref.key}"
        if key != earlier:
            await running.store.move((bucket, key), (bucket, earlier))
            location = {"bucket": bucket, "key": earlier}
            await alter_object(running, each.ref.object_id, location=location)


@pytest.mark.parametrize("stage", ["inference", "ingest"])
async def test_shots_are_computed_again_beside_live_files_and_nothing_old_is_left(
    running: Running, recorded: Sequence[Path], stage: str, tmp_path: Path
) -> None:
    before, old_blocks = await shots(running), await blocks(running)
    assert before
    await lie_as_before_versions(running, recorded)
    dry = await shotwatch(running, "reprocess", *WHEN, "--stage", stage, "--dry-run", "--json")
    assert dry.documents[0]["files"] == len(recorded)
    assert await shots(running) == before
    live = simulated(running, tmp_path, START + timedelta(days=1, minutes=stage == "ingest"))
    await running.upload(*live)

    result = await shotwatch(running, "reprocess", *WHEN, "--stage", stage, "--rate", "6000", "--json")
    assert result.exit_code == 0, result.stderr
    assert await audited(running, f"from {stage}, {WHEN[1]} to {WHEN[3]}") == ["reprocess"]
    after = await shots(running)
    assert after.keys() == before.keys()
    assert all(after[shot].revision > before[shot].revision for shot in after)
    assert await blocks(running) == old_blocks
    for window in await windows(running):
        ((batch, _),) = await running.archive.batches.of_window(window)
        assert {shot.batch for shot in after.values() if shot.window == window} == {batch.batch_id}
        assert await running.archive.measurements.of_batch(batch.batch_id, Source.FEATURES)
    for superseded in {shot.batch for shot in before.values()}:
        assert not await running.archive.measurements.of_batch(superseded)
    for document in await running.archive.ledger.newest([path.name for path in recorded]):
        assert document.state == ObjectState.INGESTED
        assert (f"@{document.ref.etag}." in document.location[1]) == (stage == "ingest")
        assert f"computed again from {stage}" in {step.why for step in document.history}
    await running.judged()
    landed = await running.archive.ledger.newest([path.name for path in live])
    assert {document.state for document in landed} == {"ingested"}


async def test_what_was_stopped_goes_on_where_it_was_stopped(running: Running, tmp_path: Path) -> None:
    first, minute = START + timedelta(days=2), timedelta(minutes=1)
    for start in (first, first + minute):
        await running.upload(*simulated(running, tmp_path / f"{start:%M}", start))
    await running.judged()
    span = epoch_ms(first), epoch_ms(first + 2 * minute)

    def work() -> Reprocessing:
        order = ReprocessingRequest("inference", *span, files_per_minute=6000)
        return Reprocessing(running.archive, running.store, running.facility, running.settings, order)

    class Stopped(Exception):
        pass

    def stop(_done: Minute) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        await work().run(stop)
    left = [each.start async for each in work().minutes()]
    assert left == [epoch_ms(first + minute)]
    again: list[int] = []
    await work().run(lambda done: again.append(done.start))
    assert again == left
    shots = await running.archive.shots.page(ANY_SHOT, *span, 0)
    assert {shot.revision for shot in shots} == {2}


async def test_a_window_that_never_closes_stops_it_with_the_window_named(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = START + timedelta(days=4)
    await running.upload(*simulated(running, tmp_path, first))
    await running.judged()
    span = epoch_ms(first), epoch_ms(first + timedelta(minutes=1))
    (window,) = await running.archive.windows.between(*span)
    monkeypatch.setattr(reprocessing, "TIMEOUT_S", 0.0)
    order = ReprocessingRequest("inference", *span, files_per_minute=6000)
    work = Reprocessing(running.archive, running.store, running.facility, running.settings, order)
    async with AsyncMongoClient(running.settings.database_url.get_secret_value()) as client:
        windows = client[running.settings.database_name]["windows"]
        await windows.update_one({"_id": window.id}, {"$set": {"deadline": FOREVER_MS}})
        try:
            with pytest.raises(ReprocessingStopped, match=f"{window.id} stays open"):
                await work.run(lambda _done: None)
        finally:
            await windows.update_one({"_id": window.id}, {"$set": {"deadline": NEVER}})
