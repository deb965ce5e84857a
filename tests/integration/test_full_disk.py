"""The path when a server's disk is full: it waits, and goes on when there is room."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import pytest

from shotwatch_cli.broker import connected
from shotwatch_cli.queues import stage_queues
from shotwatch_common.archive import Archive
from shotwatch_common.contracts import ObjectRef
from shotwatch_common.errors import Retry
from shotwatch_embedded.ports import Ports
from shotwatch_embedded.servers.database import database
from shotwatch_simulator.simulation import simulate

from .conftest import Running, until
from .processes import enlarge, serving, small_disk
from .test_path import shots_of, simulation


async def test_files_wait_until_the_store_has_room_for_their_blocks(running: Running, tmp_path: Path) -> None:
    seconds = simulation(running, datetime(2022, 7, 7, 8, tzinfo=UTC), duration=timedelta(seconds=3))
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


async def test_a_database_without_room_refuses_as_one_that_may_be_asked_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m"):
        server = database(tmp_path / "disk", Ports())
        async with serving(server), Archive(server.settings["SHOTWATCH_DATABASE_URL"], "full") as archive:
            with pytest.raises(Retry, match="disk"):
                await _enter_without_end(archive)


async def _enter_without_end(archive: Archive) -> None:
    for number in range(1000):
        key = token_hex(2**18)
        ref = ObjectRef(object_id=f"{number}", bucket="inbox", key=key, etag="", size=0, arrived_at=0)
        await archive.ledger.enter(ref, "test")


async def _waits(running: Running) -> bool:
    async with connected(running.settings.broker_url.get_secret_value()) as connection:
        return (await stage_queues(connection, "ingest")).retrying > 0
