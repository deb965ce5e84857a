"""What is shown or used as the newest cannot be pinned by records and events with impossible times.

Such times are refused at ingest. Here they are in the database nevertheless, as an earlier version stored
them.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import structlog
from opentelemetry.trace import NoOpTracerProvider
from structlog.testing import ReturnLogger

from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import LastFrame, LastState
from shotwatch_common.archive.measurements import Source
from shotwatch_common.clock import epoch_now, latest_record_ms
from shotwatch_detector.statistics import Baseline
from shotwatch_detector.tails import Tail
from shotwatch_history import service
from shotwatch_history.jobs.drift import DriftWatch
from shotwatch_query.overview import Overview
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.drift import FeatureDrift
from shotwatch_shots.features.spec import Side
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import epoch_ms, instant
from shotwatch_shots.records import BlockRef, JudgedRecords, ObjectRef
from shotwatch_shots.shot import ShotVerdict
from tests.integration.query_world import anomaly_event, store_event
from tests.support.registry import Registered
from tests.support.world import LASER, World
from tests.unit.api import client, sources

from .plays import history
from .test_history import Rests

SERIES = ShotSeries.parse("LA-A3-31-60s")
METER = "LA_A3_31-EM_1-EnergyMeter-1"
SHOTS = 120
"""More than a tile shows."""
FUTURE = epoch_ms(datetime(2099, 1, 1, tzinfo=UTC))
BEFORE_THE_FIRST_DAY = epoch_ms(datetime(1999, 1, 1, tzinfo=UTC))
AHEAD_MS = 240_000
"""Within the clock skew that the facility file allows."""

Store = Callable[[Archive], Awaitable[None]]


def batch_at(pulse: int) -> ShotBatch:
    return ShotBatch(
        batch_id=f"batch-{pulse}",
        window_id=f"batch-{pulse}",
        series=SERIES,
        pulses=[pulse],
        revisions=[1],
        complete=[True],
        members=[],
        last_arrival=0,
    )


async def shot_at(archive: Archive, pulse: int, energy: float, state: str = "ON") -> None:
    """One shot, with all that is stored of it."""
    batch = batch_at(pulse)
    await archive.measurements.keep(batch, Source.FEATURES, {METER: {"energy": np.array([energy])}})
    await archive.shots.write(batch, [ShotVerdict(score=energy, threshold=5.0)], None, "")
    obj = ObjectRef(object_id=f"{pulse}", bucket="b", key=f"{pulse}", etag="e", size=1, arrived_at=1)
    records = JudgedRecords(
        device=METER,
        kind=DeviceKind.ENERGY_METER,
        series=SERIES,
        block=BlockRef(bucket="b", key="k", object_id=obj.object_id, object_key=obj.key),
        times=[pulse],
        states=[state],
        state=[0],
        reasons=[],
        verdict=[0],
    )
    await archive.records.keep(obj, records)


async def known_state(archive: Archive, time: int, state: str) -> None:
    """As a clock that was not checked would store it."""
    await archive.devices.saw(METER, LastState(time, state), latest_ms=time)
    await archive.frames.saw(METER, LastFrame(time, 1), latest_ms=time)


async def two_hours_of_shots(archive: Archive) -> None:
    """They end a minute ago, and have a tenth less energy in the last hour."""
    end = epoch_now() // 60_000 * 60_000 - 60_000
    noise = np.random.default_rng(0).normal(0, 0.002, SHOTS)
    for n in range(SHOTS):
        energy = (1.0 if n < SHOTS // 2 else 0.9) + noise[n]
        await shot_at(archive, end - 60_000 * (SHOTS - 1 - n), float(energy))
    latest = latest_record_ms(LASER)
    await archive.devices.saw(METER, LastState(end, "ON"), latest)
    await archive.frames.saw(METER, LastFrame(end, 7), latest)
    await store_event(archive, anomaly_event(1, 0))


@pytest.fixture(scope="module")
async def honest() -> World:
    """Two hours of shots. Tests add to forks of it."""
    world = World()
    with world.in_its_time():
        await two_hours_of_shots(world.archive)
    return world


@pytest.fixture(scope="module")
async def expected(honest: World) -> dict[str, Any]:
    return await views(honest)


async def views(world: World) -> dict[str, Any]:
    """What everything that shows or uses something newest makes of the data."""
    after = world.fork()
    with patch.object(service, "LedgerWatch", Rests):
        await history(after)
    archive = world.archive
    with world.in_its_time():
        behind = sources(archive=archive, overview=Overview(LASER, archive))
        async with client(behind, timeout=60) as api:
            answers = {
                path: (await api.get(f"/api/v1/{path}")).json()
                for path in (
                    "devices",
                    "places",
                    f"devices/{METER}/report",
                    "reports",
                    f"devices/{METER}/history?feature=energy",
                    f"devices/{METER}/series?feature=energy",
                    "shots",
                )
            }
            events = (await api.get("/api/v1/events?latest=1000")).json()["events"]
        return answers | {
            "end of data": await behind.end_of_data(),
            "newest record": await archive.devices.newest(latest_record_ms(LASER), [METER]),
            "frame before now": await archive.frames.before(METER, epoch_now()),
            "first event": events[0],
            "trends": after.outcome().documents["trends"],
        }


async def shots_of(archive: Archive, time: int) -> None:
    for minute in range(3):
        await shot_at(archive, time + 60_000 * minute, 5.0, "FAULT")


async def an_event_of(archive: Archive, time: int) -> None:
    event = anomaly_event(2, 0)
    moved = event.model_copy(
        update={"time": instant(time).isoformat(), "data": event.data.model_copy(update={"time": time})}
    )
    await store_event(archive, moved)


async def a_report_of(archive: Archive, time: int) -> None:
    await archive.trends.reported(METER, "energy", time)


@pytest.mark.parametrize("time", [FUTURE, BEFORE_THE_FIRST_DAY])
@pytest.mark.parametrize("store", [shots_of, an_event_of, a_report_of])
async def test_impossible_times_in_the_database_change_nothing_that_is_newest(
    honest: World, expected: dict[str, Any], store: Callable[[Archive, int], Awaitable[None]], time: int
) -> None:
    pinned = honest.fork()
    with pinned.in_its_time():
        await store(pinned.archive, time)
    found = await views(pinned)
    assert expected["shots"]["shots"]
    assert expected["trends"]
    assert found == expected


@pytest.mark.parametrize("time", [FUTURE, BEFORE_THE_FIRST_DAY])
async def test_an_impossible_state_is_replaced_by_the_next_record(
    expected: dict[str, Any], time: int
) -> None:
    pinned = World()
    with pinned.in_its_time():
        await known_state(pinned.archive, time, "FAULT")
        await two_hours_of_shots(pinned.archive)
    assert await views(pinned) == expected


async def test_a_clock_that_is_ahead_as_far_as_is_allowed_hides_no_shot_of_its_place(honest: World) -> None:
    world = honest.fork()
    with world.in_its_time():
        before = await Overview(LASER, world.archive).read()
        ahead = LastState(epoch_now() + AHEAD_MS, "ON")
        await world.archive.devices.saw(METER, ahead, latest_record_ms(LASER))
        after = await Overview(LASER, world.archive).read()
    assert after[0].scores == before[0].scores
    assert len(after[0].scores) == 100


async def test_such_a_clock_hides_no_shot_from_the_measurement_of_drift(honest: World) -> None:
    world = honest.fork()
    with world.in_its_time():
        before = await measured_drift(world)
        ahead = LastState(epoch_now() + AHEAD_MS, "ON")
        await world.archive.devices.saw("LA_A3_31-Camera_1-Camera-1", ahead, latest_record_ms(LASER))
        after = await measured_drift(world)
    assert before.beyond == after.beyond == 0, "None without any shot"


async def measured_drift(world: World) -> FeatureDrift:
    """Drift of the meter against a champion that was trained on its last hour."""
    context: Any = SimpleNamespace(
        facility=LASER,
        archive=world.archive,
        servers_answer=None,
        log=structlog.wrap_logger(ReturnLogger()),
        tracer=NoOpTracerProvider().get_tracer("tests"),
    )
    registry: Any = Registered()
    watch = DriftWatch(context, registry)
    baseline = Baseline(0.9, 0.01, Tail(2.6, 0.876), Tail(2.6, 0.876), Side.BOTH)
    [expected] = [each for each in LASER.places if METER in each.devices]
    now = await world.archive.devices.newest(latest_record_ms(LASER), expected.devices)
    assert now is not None
    watch._baseline = {METER: {"energy": baseline}}
    await watch._compare(expected, now, "1", METER)
    [drift] = await world.archive.drifts.of_version("1")
    return drift.features["energy"]
