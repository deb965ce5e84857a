"""The path when a server's disk is full: it waits, and goes on when there is room."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from shotwatch_cli.broker import connected
from shotwatch_cli.queues import stage_queues
from shotwatch_simulator.simulation import simulate

from .conftest import Running, until
from .processes import enlarge, small_disk
from .test_path import shots_of, simulation


async def test_files_wait_until_the_store_has_room_for_their_blocks(running: Running, tmp_path: Path) -> None:
    seconds = simulation(running, datetime(2022, 7, 6, 8, tzinfo=UTC), duration=timedelta(seconds=3))
    blocks = running.stack.folder / "store" / "buckets" / "blocks"
    with small_disk(blocks, "4k"):
        await running.upload(*simulate(seconds, tmp_path))
        await until(lambda: _waits(running), "a file that waits for another attempt")
        assert await shots_of(running.archive, seconds) == []
        enlarge(blocks, "64m")
        await running.judged()
    shots = await shots_of(running.archive, seconds)
    assert len(shots) == 3
    assert all(shot["complete"] for shot in shots)


async def _waits(running: Running) -> bool:
    async with connected(running.settings.broker_url.get_secret_value()) as connection:
        return (await stage_queues(connection, "ingest")).retrying > 0
