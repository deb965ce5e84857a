"""Series as files, and states over time."""

import asyncio
import io
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.archive import measurements
from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.measurements import Measurements
from shotwatch_query.domain.columns import columns_csv, columns_npy, finite_or_none, instants
from shotwatch_query.domain.pages import Span
from shotwatch_query.domain.timelines import MOST_SEGMENTS, Segment, segments
from shotwatch_query.errors import BadRequest
from shotwatch_query.parameters import require_short
from tests.support.database import DatabaseInMemory

DAY = 86_400_000
TIMES = np.array([1_656_660_780_100, 1_656_660_780_200])
ON, STANDBY, FAULT = 2, 1, 0


def test_csv_holds_times_in_utc_seven_digits_and_nothing_for_what_is_no_number() -> None:
    columns = {"energy": np.array([np.float64(np.float32(0.1)), np.nan]), "outlier": np.array([True, False])}
    assert b"".join(columns_csv(TIMES, columns)).decode().splitlines() == [
        "time,energy,outlier",
        "2022-07-01T07:33:00.100Z,0.1,1",
        "2022-07-01T07:33:00.200Z,,0",
    ]


def test_npy_holds_every_column_by_its_name() -> None:
    columns = {"energy": np.array([1 / 3, np.nan]), "outlier": np.array([True, False])}
    table = np.load(io.BytesIO(columns_npy(TIMES, columns)))
    assert table.dtype.names == ("time", "energy", "outlier")
    assert table["time"].astype(np.int64).tolist() == TIMES.tolist()
    assert np.array_equal(table["energy"], columns["energy"], equal_nan=True)
    assert table["outlier"].tolist() == [True, False]


async def test_the_service_answers_others_while_a_series_is_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    sorting, answered = threading.Event(), threading.Event()

    def slow(*keys: Any) -> Any:
        sorting.set()
        assert answered.wait(10), "nothing else was done meanwhile"
        return lexsort(*keys)

    lexsort = np.lexsort
    monkeypatch.setattr(measurements.np, "lexsort", slow)
    database = DatabaseInMemory()
    database["measurements"].documents["any"] = {
        "device": "camera",
        "start": 0,
        "pulses": np.array([200, 100], "<i8").tobytes(),
        "revisions": np.array([1, 1], "<i4").tobytes(),
        "features": {"energy": np.array([2, 1], "<f4").tobytes()},
    }
    reading = asyncio.create_task(Measurements(Database(database)).series("camera", ["energy"], 0, 1000))
    while not sorting.is_set():
        await asyncio.sleep(0.01)
    answered.set()
    series = await reading
    assert series.pulses.tolist() == [100, 200]
    assert series.columns["energy"].tolist() == [1, 2]


def test_a_series_without_shots_is_a_header() -> None:
    empty = {"energy": np.empty(0)}
    assert b"".join(columns_csv(np.empty(0, np.int64), empty)) == b"time,energy\n"
    assert len(np.load(io.BytesIO(columns_npy(np.empty(0, np.int64), empty)))) == 0


def test_what_is_no_finite_number_is_reported_as_none() -> None:
    assert finite_or_none(np.array([1.5, np.nan, np.inf, -np.inf, 1e-30])) == [1.5, None, None, None, 1e-30]


def test_instants_are_in_utc() -> None:
    assert instants(TIMES)[0].isoformat() == "2022-07-01T07:33:00.100000+00:00"


def test_a_day_of_one_feature_at_10_hz_is_short_enough_and_two_are_not() -> None:
    require_short(Span(0, DAY), 100)
    with pytest.raises(BadRequest, match="at most 13:53:20 at a time"):
        require_short(Span(0, DAY), 100, features=2)


def test_a_stretch_ends_where_the_state_changes_or_a_gap_begins() -> None:
    times = np.array([0, 100, 200, 600, 700, 800])
    states = np.array([ON, ON, FAULT, FAULT, FAULT, ON])
    assert segments(times, states, 100, Span(0, 1000)) == [
        Segment(ON, 0, 200),
        Segment(FAULT, 200, 300),
        Segment(FAULT, 600, 800),
        Segment(ON, 800, 900),
    ]


def test_a_device_without_records_has_no_stretch() -> None:
    nothing = np.empty(0, np.int64)
    assert segments(nothing, nothing, 100, Span(0, 1000)) == []


def test_of_too_many_stretches_the_rarest_states_are_reported() -> None:
    times = np.arange(0, DAY, 1000)
    states = np.where(np.arange(len(times)) % 2, ON, STANDBY)
    states[::4] = ON
    states[50_000] = FAULT
    shown = segments(times, states, 1000, Span(0, DAY))
    assert [segment.state for segment in shown] == [STANDBY, FAULT, STANDBY]
    fault = shown[1]
    assert fault.start <= times[50_000] < fault.end
    assert fault.end - fault.start == DAY / MOST_SEGMENTS
    assert (shown[0].start, shown[-1].end) == (0, DAY)


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 2)), max_size=3000),
    st.sampled_from([100, 1000, 60_000]),
)
def test_stretches_are_few_in_order_and_hold_every_record(
    records: list[tuple[int, int]], interval: int
) -> None:
    times = np.cumsum([step for step, _ in records], dtype=np.int64)
    states = np.array([state for _, state in records], np.int64)
    found = segments(times, states, interval, Span(0, int(times.max(initial=0)) + 1))
    assert len(found) <= MOST_SEGMENTS
    assert all(before.end <= after.start for before, after in pairwise(found))
    starts, ends = (np.array([getattr(each, edge) for each in found]) for edge in ("start", "end"))
    held = np.searchsorted(starts, times, side="right") - 1
    assert (held >= 0).all()
    assert (times < ends[held]).all() if len(times) else not found
