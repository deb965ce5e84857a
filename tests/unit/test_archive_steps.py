"""Long times are read in steps: nothing is left out between them, and nothing is counted twice."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.events import Events
from shotwatch_common.archive.ledger import Ledger
from shotwatch_common.archive.measurements import Measurements, Source
from shotwatch_common.archive.secantus_gaps import steps
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.ledger import Entry
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState
from tests.support.database import DatabaseInMemory

METER = "LB_A2-EM_1-EnergyMeter-1"
MINUTE, HOUR, NOON = 60_000, 3_600_000, 1_714_564_800_000


@given(st.integers(-(10**13), 10**13), st.integers(0, 10**12), st.integers(1, 10**9))
def test_steps_follow_each_other_through_the_whole_span(start: int, length: int, shortest: int) -> None:
    parts = list(steps(start, start + length, shortest))
    assert [begin for begin, _ in parts] == [start, *(stop for _, stop in parts)][: len(parts)]
    assert not length or parts[-1][1] == start + length
    assert len(parts) <= 128
    assert all(stop - begin >= shortest for begin, stop in parts[:-1])


@given(
    st.sets(st.one_of(st.integers(0, 10**6), st.integers(0, 10**13)), max_size=8),
    st.integers(-(10**13), 10**13),
    st.integers(0, 10**13),
)
async def test_the_earliest_time_is_the_smallest_in_the_span(
    times: set[int], start: int, length: int
) -> None:
    collection = Database(DatabaseInMemory())["events"]
    for time in times:
        await collection.insert_one({"_id": time, "stored_at": time})
    within = [time for time in times if start <= time < start + length]
    assert await Events({"events": collection, "counters": collection}).first_stored(
        start, start + length
    ) == min(within, default=None)


@pytest.mark.parametrize("span", [(NOON, NOON + 7 * MINUTE), (0, 2 * NOON), (NOON + 1, NOON + HOUR)])
async def test_a_tally_counts_each_object_once(span: tuple[int, int]) -> None:
    ledger, expected = Ledger(Database(DatabaseInMemory())), Counter[str]()
    states = (ObjectState.INGESTED, ObjectState.REJECTED, ObjectState.WAITING)
    for n, arrived in enumerate([NOON, NOON + 5 * MINUTE - 1, NOON + 5 * MINUTE, NOON + 7 * MINUTE, 5]):
        ref = ObjectRef(object_id=f"{n}", bucket="b", key=f"{n}", etag="e", size=10**n, arrived_at=arrived)
        await ledger.enter(ref, "test")
        await ledger.settle(ref.object_id, Entry(states[n % 3], "test"), "broken" if n % 3 == 1 else "")
        if span[0] <= arrived < span[1]:
            expected.update({states[n % 3].value: 1, "bytes": 10**n, "broken": n % 3 == 1})
    tally = await ledger.tally(*span)
    assert set(tally.states) == set(ObjectState)
    assert {name: count for name, count in tally.states.items() if count} == {
        state: expected[state] for state in states if expected[state]
    }
    assert (tally.bytes, tally.reasons.get("broken", 0)) == (expected["bytes"], expected["broken"])


async def test_a_series_of_days_has_each_shot_once() -> None:
    measurements = Measurements(Database(DatabaseInMemory()))
    starts = [NOON + 6 * HOUR * n - (n % 3) * MINUTE for n in range(9)]
    for start in starts:
        pulses = [start, start + 10_000]
        batch = ShotBatch(
            batch_id=f"{start}",
            window_id=f"{start}",
            series=ShotSeries.parse("LB-A2-00-1s"),
            pulses=pulses,
            revisions=[1, 1],
            complete=[True, True],
            members=[],
            last_arrival=0,
        )
        values = np.array([start % 7.0, 1.0])
        await measurements.keep(batch, Source.FEATURES, {METER: {"energy": values}})
    series = await measurements.series(METER, ["energy"], starts[0], starts[-1] + HOUR)
    assert series.pulses.tolist() == sorted(pulse for start in starts for pulse in (start, start + 10_000))
    medians = await measurements.medians(METER, ["energy"], starts[0], starts[-1] + 1)
    assert medians.pulses.tolist() == starts
