"""What is broken or hostile harms itself alone, on real servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pymongo import AsyncMongoClient

from shotwatch_common.archive.shots import ANY_SHOT
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import ObjectState
from shotwatch_simulator.simulation import Simulation, simulate

from .conftest import Running, scrape_targets, until

HOSTILE = Path(__file__).resolve().parents[3] / "shared" / "cases" / "hostile"
POISON = {
    "_id": "LB-A3-31-60s-20220701T080000",
    "place": "LB-A3-31",
    "interval": "60s",
    "start": epoch_ms(datetime(2022, 7, 1, 8, tzinfo=UTC)),
    "version": 1,
    "again": True,
    "files": [],
    "revision": b"no column",
    "devices": [],
    "deadline": 1,
    "outbox": {},
    "outbox_since": 0,
    "traceparent": "",
}
"""A window that cannot be read, and that is overdue before all others."""


@asynccontextmanager
async def poisoned(running: Running) -> AsyncIterator[None]:
    url = running.settings.database_url.get_secret_value()
    async with AsyncMongoClient(url) as client:
        windows = client[running.settings.database_name]["windows"]
        await windows.insert_one(POISON)
        try:
            yield
        finally:
            await windows.delete_one({"_id": POISON["_id"]})


async def failing(running: Running) -> float:
    """How many items of background work fail in any replica of aggregate."""
    async with httpx.AsyncClient() as client:
        pages = [
            (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            for port in scrape_targets(running.stack)["aggregate"]
        ]
    lines = [line for page in pages for line in page.splitlines()]
    return sum(float(line.split()[-1]) for line in lines if line.startswith("shotwatch_background_waiting{"))


async def test_a_window_that_cannot_be_closed_stops_no_other(running: Running, tmp_path: Path) -> None:
    expected_devices = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected_devices is not None
    start = datetime(2024, 9, 1, 8, tzinfo=UTC)
    first, *_ = simulate(
        Simulation(running.facility, (expected_devices,), start, timedelta(seconds=5)), tmp_path
    )

    async def closed() -> bool:
        return len(await running.archive.shots.page(ANY_SHOT, epoch_ms(start), epoch_ms(start) + 60_000)) == 5

    async def noticed() -> bool:
        return await failing(running) > 0

    async with poisoned(running):
        await until(noticed, "the failure in the metrics")
        await running.upload(first)
        await until(closed, "the shots of a lone file closed at their deadline")
    await running.judged()


async def test_thousands_of_made_up_devices_leave_the_place_to_its_own(running: Running) -> None:
    if not HOSTILE.is_dir():
        pytest.skip("needs shared/cases beside the repository")
    evil, honest = sorted(HOSTILE.glob("L*_100ms_*.h5"))[:2]
    await running.upload(evil)
    await running.judged()
    await running.upload(honest)
    await running.judged()
    (entry,) = await running.archive.ledger.newest([honest.name])
    assert (entry.state, bool(entry.joined_at)) == (ObjectState.INGESTED, True)
    start = datetime(2022, 7, 2, 7, 33, tzinfo=UTC)
    for window in await running.archive.windows.between(epoch_ms(start), epoch_ms(start) + 60_000):
        stored = await running.archive.windows.load(window.id, running.facility.interval)
        assert stored is not None
        expected_devices = running.facility.expected_devices(stored.series)
        expected = set(expected_devices.devices) if expected_devices else set()
        assert len(stored.devices.keys() - expected) <= 16
