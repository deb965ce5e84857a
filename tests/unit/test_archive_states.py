"""In which state a device was: whatever came later, and in whatever order files came."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotwatch_common.archive import Archive
from shotwatch_common.archive.devices import Devices, LastState
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.records import Records
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef, JudgedRecords, ObjectRef
from tests.support.database import DatabaseInMemory

METER = "LB_A2-EM_1-EnergyMeter-1"
MINUTE_MS, DAY_MS = 60_000, 86_400_000
NOON = 1_714_564_800_000
"""2024-05-01 12:00 UTC."""
NOW = NOON + 365 * DAY_MS


def recorded(key: str, version: int, records: dict[int, str | None]) -> tuple[ObjectRef, JudgedRecords]:
    """Records of the meter (epoch ms → state) as one version of a file."""
    states = sorted({state for state in records.values() if state})
    obj = ObjectRef(object_id=f"{key}@{version}", bucket="b", key=key, etag="e", size=1, arrived_at=version)
    return obj, JudgedRecords(
        device=METER,
        kind=DeviceKind.ENERGY_METER,
        series=ShotSeries.parse("LB-A2-00-1s"),
        block=BlockRef(bucket="blocks", key="k", object_id="o", object_key="o.h5"),
        times=list(records),
        states=states,
        state=[states.index(state) if state else -1 for state in records.values()],
        reasons=[],
        verdict=[0] * len(records),
    )


STATES = st.lists(st.sampled_from(["ON", "STANDBY", "FAULT", None]), min_size=1, max_size=6)
FILES = st.dictionaries(st.integers(0, 31 * 24 * 60), st.lists(STATES, min_size=1, max_size=3), max_size=8)
"""Minute of the file → the states of its records, version by version."""


@given(FILES, st.data())
@settings(max_examples=200, deadline=None)
async def test_the_state_before_any_time_is_that_of_the_last_record_before_it(
    files: dict[int, list[list[str | None]]], data: st.DataObject
) -> None:
    records, truth, arrivals = Records(Database(DatabaseInMemory())), {}, []
    for minute, versions in files.items():
        for version, states in enumerate(versions):
            reported = {NOON + MINUTE_MS * minute + 9_999 * n: state for n, state in enumerate(states)}
            arrivals.append(recorded(f"meter {minute}.h5", version, reported))
        truth.update(reported)
    for arrival in data.draw(st.permutations(arrivals)):
        await records.keep(*arrival)
    times = [NOON, *truth, *(time + 1 for time in truth), NOON + 32 * DAY_MS]
    time = data.draw(st.sampled_from(times))
    before = [truth[at] for at in sorted(truth) if at < time and truth[at]]
    assert await records.state_before(METER, time) == (before[-1] if before else None)


async def test_the_state_before_a_long_silence_takes_three_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    records, reads = Records(Database(DatabaseInMemory())), []
    await records.keep(*recorded("meter.h5", 1, {NOON: "ON"}))
    find = records._records.find
    monkeypatch.setattr(records._records, "find", lambda *given: reads.append(given) or find(*given))
    assert await records.state_before(METER, NOON + 31 * DAY_MS) == "ON"
    assert len(reads) == 3


@pytest.fixture
def archive() -> Iterator[Archive]:
    archive = Archive.at("mongodb://nobody", "nothing")
    memory = DatabaseInMemory()
    archive.records, archive.devices = Records(Database(memory)), Devices(memory)
    yield archive
    archive._client.close()


async def saw(archive: Archive, time: int, state: str) -> None:
    await archive.records.keep(*recorded(f"{time}.h5", 1, {time: state}))
    await archive.devices.saw(METER, LastState(time, state), NOW)


EXPECTED = [(0, {}), (1, "ON"), (31 * DAY_MS, "ON"), (32 * DAY_MS, "ON"), (32 * DAY_MS + 1, {})]


@pytest.mark.parametrize("later", [0, 40, 300])
async def test_what_a_device_did_later_does_not_change_in_which_state_it_was(
    archive: Archive, later: int
) -> None:
    await saw(archive, NOON, "ON")
    if later:
        await saw(archive, NOON + later * DAY_MS, "FAULT")
    for passed, state in EXPECTED:
        known = {METER: state} if state else {}
        assert await archive.states_before([METER, "never seen"], NOON + passed) == known


async def test_a_device_that_claims_to_be_in_the_future_was_where_its_files_show(archive: Archive) -> None:
    await saw(archive, NOON, "ON")
    await archive.devices.saw(METER, LastState(NOW + DAY_MS, "STANDBY"), NOW + 2 * DAY_MS)
    assert await archive.states_before([METER], NOON + 1) == {METER: "ON"}
    assert await archive.states_before([METER], NOON) == {}
