"""The archive: several hands at once, and what comes out of what was put in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pymongo import AsyncMongoClient

from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.measurements import Source, of_shot
from shotwatch_common.archive.windows import NEVER, to_document
from shotwatch_common.calibration_store import CalibrationStore, Period, store_constants
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.errors import Bug
from shotwatch_shots.facility import Interval
from shotwatch_shots.ledger import Entry
from shotwatch_shots.levels import SeriesLevels
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.records import BlockRef, JudgedRecords, ObjectRef
from shotwatch_shots.shot import ShotFilter, ShotVerdict
from shotwatch_shots.vocabulary import CalibrationKind, ObjectState
from shotwatch_shots.window import Window
from tests.support import own_past_contract

from .conftest import Running, until

PLACE = ShotSeries.parse("LA-A9-00-1s")
ONE_HZ = Interval("1s", lateness_s=20, tolerance_ms=500)
OF_THESE_TESTS = "test_archive"
"""A database of their own: what they make up is in no ledger of the system."""


@pytest.fixture
async def archive(running: Running) -> AsyncIterator[Archive]:
    async with Archive.at(running.settings.database_url.get_secret_value(), OF_THESE_TESTS) as archive:
        await archive.ensure_indexes()
        yield archive


async def test_no_sequence_number_is_given_to_two_writers(archive: Archive) -> None:
    events = archive.events
    wanted = [[f"numbered-{n}-{m}" for m in range(3)] for n in range(40)]
    given = await asyncio.gather(*map(events.reserve, wanted))
    numbers = sorted(number for each in given for number in each.values())
    assert numbers == list(range(numbers[0], numbers[0] + 120))
    assert await events.reserve(wanted[7]) == given[7], "who asks again gets the numbers that wait for it"


async def test_an_index_that_is_gone_is_named_and_made_again(running: Running) -> None:
    async with AsyncMongoClient(running.settings.database_url.get_secret_value()) as client:
        archive = Archive.at(running.settings.database_url.get_secret_value(), "indexes")
        async with archive:
            assert "shots: pulse" in await archive.missing_indexes()
            await archive.ensure_indexes()
            assert await archive.missing_indexes() == []
            await client["indexes"]["shots"].drop_index("pulse_1")
            assert await archive.missing_indexes() == ["shots: pulse"]
            await archive.ensure_indexes()
            assert await archive.missing_indexes() == []


async def test_a_window_comes_to_rest_though_somebody_died_while_striking_off_its_last_message(
    running: Running, archive: Archive
) -> None:
    window = replace(Window.empty(PLACE.place, ONE_HZ, 36_000_000), version=1)
    half_done = {**to_document(window), "deadline": 0, "outbox_since": 1}
    async with AsyncMongoClient(running.settings.database_url.get_secret_value()) as client:
        await client[OF_THESE_TESTS]["windows"].insert_one(dict(half_done))
        assert not await archive.windows.at_rest(window.id), "nobody sweeps the database of these tests"
        await client[running.settings.database_name]["windows"].insert_one(half_done)
    await until(lambda: running.archive.windows.at_rest(window.id), "the window at rest")


async def test_replicas_that_enter_shots_into_the_same_levels_lose_none(archive: Archive) -> None:
    def follow(stored: SeriesLevels) -> SeriesLevels:
        return stored.after(stored.until + 1, {("device", "energy"): b"state"}, ())

    await asyncio.gather(*(archive.levels.enter("several replicas", follow) for _ in range(20)))
    levels = await archive.levels.load("several replicas")
    assert (levels.version, levels.until, list(levels.states.values())) == (20, 19, [b"state"])


async def test_of_many_that_enter_an_object_one_is_the_first(archive: Archive) -> None:
    ref = ObjectRef(object_id="once", bucket="b", key="k", etag="e", size=1, arrived_at=0)
    entered = await asyncio.gather(*(archive.ledger.enter(ref, "test") for _ in range(20)))
    assert sum(entered) == 1
    await archive.ledger.settle("once", Entry(ObjectState.IGNORED, "test"))


BLOCK = BlockRef(bucket="blocks", key="k", object_id="o", object_key="o.h5")


def batch(name: str, pulses: Sequence[int], revision: int = 1) -> ShotBatch:
    return ShotBatch(
        batch_id=name,
        window_id="w",
        series=PLACE,
        pulses=list(pulses),
        revisions=[revision] * len(pulses),
        complete=[True] * len(pulses),
        members=[],
        last_arrival=0,
    )


async def test_measurements_come_back_by_shot_and_as_a_series(archive: Archive) -> None:
    kept = archive.measurements
    first, second = batch("m-1", [1000, 2000, 3000]), batch("m-2", [4000, 5000])
    energies = np.array([1.5, np.nan, 1.25])
    await kept.keep(first, Source.FEATURES, {"meter": {"energy": energies}})
    await kept.keep(second, Source.FEATURES, {"meter": {"energy": np.array([2.0, 2.5])}})
    assert of_shot(await kept.of_batch("m-1"), 0) == {"meter": {"energy": 1.5}}
    assert of_shot(await kept.of_batch("m-1"), 1) == {}
    series = await kept.series("meter", ["energy", "energy_disagreement"], 1000, 5000)
    assert series.pulses.tolist() == [1000, 2000, 3000, 4000]
    np.testing.assert_array_equal(series.columns["energy"], [1.5, np.nan, 1.25, 2.0])
    assert np.isnan(series.columns["energy_disagreement"]).all()
    medians = await kept.medians("meter", ["energy"], 0, 5000)
    assert medians.pulses.tolist() == [1000, 4000]
    assert medians.columns["energy"].tolist() == [1.375, 2.25]
    of_nothing = await kept.medians("meter", [], 0, 5000)
    assert (len(of_nothing.pulses), of_nothing.columns) == (0, {})


async def test_of_a_shot_that_was_measured_again_the_newest_revision_counts(archive: Archive) -> None:
    kept = archive.measurements
    await kept.keep(
        batch("r-2", [2000], revision=2), Source.FEATURES, {"meter-2": {"energy": np.array([9.0])}}
    )
    await kept.keep(
        batch("r-1", [1000, 2000]), Source.FEATURES, {"meter-2": {"energy": np.array([1.0, 2.0])}}
    )
    assert (await kept.series("meter-2", ["energy"], 0, 9000)).columns["energy"].tolist() == [1.0, 9.0]


async def test_what_several_sources_measured_of_a_device_is_reported_together(archive: Archive) -> None:
    kept, shots = archive.measurements, batch("s-1", [1000, 2000])
    await kept.keep(shots, Source.FEATURES, {"camera": {"peak": np.array([1.0, 2.0])}})
    await kept.keep(shots, Source.DETAIL, {"camera": {"fit": np.array([3.0, np.nan])}})
    await kept.keep(shots, Source.FLAGGED, {"camera": {"fit": np.array([np.nan, 4.0])}})
    measured = await kept.of_batch("s-1")
    assert [of_shot(measured, n)["camera"] for n in (0, 1)] == [{"peak": 1, "fit": 3}, {"peak": 2, "fit": 4}]
    assert (await kept.of_batch("s-1", Source.FEATURES))["camera"].keys() == {"peak"}


def file(key: str, version: int) -> ObjectRef:
    return ObjectRef(object_id=f"{key}-{version}", bucket="b", key=key, etag="e", size=1, arrived_at=version)


def records(times: Sequence[int], states: Sequence[str]) -> JudgedRecords:
    names = sorted(set(states))
    return JudgedRecords(
        device="pump",
        kind=DeviceKind.OTHER,
        series=PLACE,
        block=BLOCK,
        times=list(times),
        states=names,
        state=[names.index(state) for state in states],
        reasons=["state_not_on: FAULT"],
        verdict=[int(state != "ON") for state in states],
    )


async def test_a_file_that_comes_again_replaces_its_records_and_an_older_one_does_not(
    archive: Archive,
) -> None:
    kept = archive.records
    await kept.keep(file("a.h5", 1), records([1000, 2000], ["ON", "ON"]))
    await kept.keep(file("b.h5", 1), records([3000, 4000], ["FAULT", "ON"]))
    await kept.keep(file("a.h5", 3), records([1001, 2001], ["STANDBY", "ON"]))
    await kept.keep(file("a.h5", 2), records([1002, 2002], ["FAULT", "FAULT"]))
    of_pump = await kept.of_device("pump", 0, 4000)
    assert of_pump.times.tolist() == [1001, 2001, 3000]
    assert [of_pump.states[code] for code in of_pump.state] == ["STANDBY", "ON", "FAULT"]
    assert of_pump.refused == {"state_not_on": 2}


async def test_versions_of_a_calibration_are_counted_and_the_newest_is_used(
    running: Running, archive: Archive
) -> None:
    store = running.store
    kind, period = CalibrationKind.NOISE, Period(0, 1, 50)
    made = await asyncio.gather(
        *(store_constants(archive, store, "data", "dark camera", kind, bytes([n]), period) for n in range(4))
    )
    assert sorted(each.version for each in made) == [1, 2, 3, 4]
    calibration_store = CalibrationStore(archive, store, {kind: bytes})
    assert calibration_store.newest("dark camera", kind) is None
    await calibration_store.poll()
    (newest,) = (each for each in made if each.version == 4)
    assert calibration_store.newest("dark camera", kind) == await store.get("data", newest.key)


async def test_a_calibration_that_cannot_be_read_leaves_the_last_one_in_use(
    running: Running, archive: Archive
) -> None:
    store = running.store
    kind, period = CalibrationKind.NOISE, Period(0, 1, 50)
    await store_constants(archive, store, "data", "another camera", kind, b"good", period)
    calibration_store = CalibrationStore(archive, store, {kind: readable})
    await calibration_store.poll()
    await store_constants(archive, store, "data", "another camera", kind, b"bad", period)
    (reported,) = [
        (bad.version, why) for bad, why in await calibration_store.poll() if bad.device == "another camera"
    ]
    assert reported == (2, "b'bad' is no model")
    assert calibration_store.newest("another camera", kind) == b"good"
    assert not [bad for bad, _ in await calibration_store.poll() if bad.device == "another camera"]
    lost = await store_constants(archive, store, "data", "another camera", kind, b"lost", period)
    await store.remove("data", lost.key)
    ((_, why),) = [
        reported for reported in await calibration_store.poll() if reported[0].device == "another camera"
    ]
    assert why == f"data/{lost.key} does not exist"
    assert calibration_store.newest("another camera", kind) == b"good"


def readable(data: bytes) -> bytes:
    if data == b"bad":
        raise ValueError(f"{data!r} is no model")
    return data


async def test_a_spread_of_shots_is_of_each_part_of_the_time_and_no_larger_than_asked(
    archive: Archive,
) -> None:
    where = ShotFilter(area=Place.parse("LA-A9-00"))
    pulses = [1000 * n for n in range(1, 401)]
    shots = batch("spread", pulses)
    await archive.shots.write(shots, [ShotVerdict(None, None)] * len(pulses), None, "0" * 32)
    found = [shot.pulse for shot in await archive.shots.spread(where, 100)]
    assert found == [pulse for pulse in pulses if (pulse - 1000) % 20_000 < 5_000]
    some = await archive.shots.spread(where, 7, start_ms=300_000, end_ms=350_000)
    assert len(some) == 7
    assert all(300_000 <= shot.pulse < 350_000 for shot in some)
    assert await archive.shots.spread(where, 7, start_ms=10**9) == []


NOON = 1_714_564_800_000
"""2024-05-01 12:00 UTC."""


async def test_a_clock_that_is_years_ahead_pins_nothing(running: Running, archive: Archive) -> None:
    device, end_of_time = "a meter from the future", 253_402_300_799_999
    url = running.settings.database_url.get_secret_value()
    async with AsyncMongoClient(url) as client:
        devices = client[OF_THESE_TESTS]["devices"]
        await devices.insert_one({"_id": device, "time": end_of_time, "state": "ON"})
        now = epoch_now()
        assert await archive.devices.newest(now, [device]) is None
        assert await archive.devices.last_states([device], now) == {}
        await archive.devices.saw(device, LastState(NOON, "STANDBY"), now)
        assert await archive.devices.last_states([device], now) == {device: LastState(NOON, "STANDBY")}
        await archive.devices.saw(device, LastState(end_of_time, "ON"), now)
        await archive.devices.saw(device, LastState(NOON - 1, "FAULT"), now)
        assert await archive.devices.last_states([device]) == {device: LastState(NOON, "STANDBY")}
        assert await archive.devices.newest(now, [device]) == NOON
        await devices.delete_one({"_id": device})


async def test_the_database_refuses_a_window_that_is_too_large_by_its_name(archive: Archive) -> None:
    huge = replace(Window.empty(PLACE.place, ONE_HZ, 0), version=1, traceparent="x" * (17 << 20))
    with pytest.raises(Bug, match=f"window {huge.id} cannot be written"):
        await archive.windows.save(huge, NEVER)
    assert await archive.windows.load(huge.id, {"1s": ONE_HZ}.__getitem__) is None


async def test_replicas_lose_no_batch_of_a_series_past_and_enter_none_twice(archive: Archive) -> None:
    await own_past_contract.replicas_lose_no_batch_and_enter_none_twice(archive)


async def test_hours_are_found_by_series_version_and_time_and_deleted_when_old(archive: Archive) -> None:
    await own_past_contract.hours_are_found_by_series_version_and_time_and_deleted_when_old(archive)
