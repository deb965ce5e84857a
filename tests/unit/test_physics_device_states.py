"""Records of a device: shares of time, gaps, chatter and clock skew with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shotwatch_physics.device_states import (
    Burst,
    Chatter,
    StateShare,
    clock_skew,
    find_gaps,
    state_chatter,
    state_shares,
)

Times = NDArray[np.int64]

DAY_MS = 86_400_000


def seconds(*times: float) -> Times:
    return np.array([round(1000 * time) for time in times], dtype=np.int64)


def test_a_state_holds_until_the_next_record() -> None:
    states = np.array(["ON", "ON", "FAULT", "ON"])
    assert state_shares(seconds(0, 1, 2, 3), states, 1000) == [
        StateShare("FAULT", 1000, 0.25),
        StateShare("ON", 3000, 0.75),
    ]


def test_a_gap_is_time_in_no_state() -> None:
    times, states = seconds(0, 1, 101, 102), np.array([7, 7, 2, 2])
    assert state_shares(times, states, 1000) == [StateShare(2, 2000, 0.5), StateShare(7, 2000, 0.5)]
    gaps = find_gaps(times, 1000)
    assert (gaps.count, gaps.total_ms, gaps.longest_ms) == (1, 99_000, 99_000)
    assert (gaps.starts_ms[0], gaps.ends_ms[0]) == (2000, 101_000)


def test_jitter_is_no_gap_and_a_missing_sample_is_one() -> None:
    assert find_gaps(seconds(0, 1.4, 1.9, 3.3), 1000).count == 0
    gaps = find_gaps(seconds(0, 1, 3, 4, 8), 1000)
    assert (gaps.count, gaps.total_ms, gaps.longest_ms) == (2, 4000, 3000)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50), st.integers(1, 2000))
def test_recorded_and_missing_time_are_all_the_time(spacings: list[int], interval_ms: int) -> None:
    times = np.cumsum(np.array(spacings, dtype=np.int64))
    states = times % 3
    recorded = sum(share.time_ms for share in state_shares(times, states, interval_ms))
    missing = find_gaps(times, interval_ms).total_ms
    assert recorded + missing == pytest.approx(times[-1] - times[0] + interval_ms)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_shares_add_up_to_one(states: list[int]) -> None:
    shares = state_shares(1000 * np.arange(len(states)), np.array(states), 1000)
    assert sum(share.share for share in shares) == pytest.approx(1)
    for share in shares:
        assert share.share == pytest.approx(states.count(share.state) / len(states))


def test_no_records_have_no_states_no_gaps_and_no_chatter() -> None:
    nothing = np.empty(0, np.int64)
    assert state_shares(nothing, nothing, 1000) == []
    gaps = find_gaps(nothing, 1000)
    assert (gaps.count, gaps.total_ms, gaps.longest_ms) == (0, 0, 0)
    chatter = state_chatter(nothing, nothing, 1000)
    assert (chatter.changes, chatter.bursts) == (0, ())
    assert np.isnan(chatter.per_hour)


def test_changes_are_counted_over_the_recorded_time() -> None:
    times = 1000 * np.arange(7200)
    states = (times // 1_200_000) % 2
    assert state_chatter(times, states, 1000) == Chatter(changes=5, per_hour=2.5, bursts=())


def test_four_changes_within_ten_seconds_are_a_burst_and_three_are_none() -> None:
    states = np.zeros(200, dtype=np.int64)
    states[50:60:2] = 1
    states[100] = 1
    states[103:] = 1
    assert state_chatter(1000 * np.arange(200), states, 1000).bursts == (Burst(50_000, 59_000, 10),)


def test_bursts_far_apart_stay_apart_and_those_that_share_a_change_are_one() -> None:
    changes = [0, 3, 6, 10, 14, 15, 5000, 5001, 5002, 5003]
    times = seconds(-1, *changes)
    bursts = state_chatter(times, np.arange(len(times)) % 2, 1000).bursts
    assert bursts == (Burst(0, 15_000, 6), Burst(5_000_000, 5_003_000, 4))


@pytest.mark.parametrize("skew_ms", [-450, -30, 0, 12, 499])
def test_a_clock_skew_below_half_an_interval_is_found(skew_ms: int) -> None:
    rng = np.random.default_rng(1)
    times = 1000 * np.arange(3000) + rng.integers(-3, 4, 3000) * (abs(skew_ms) < 450)
    other = 1000 * np.arange(3000) + skew_ms
    other = np.delete(other, slice(100, 400))
    skew = clock_skew(times, other, 1000)
    assert skew.offset_ms == pytest.approx(skew_ms, abs=1)
    assert skew.spread_ms < 4
    assert 2600 < skew.pairs <= 2701


def test_a_skew_of_more_than_half_an_interval_seems_smaller_by_a_whole_one() -> None:
    times = 1000 * np.arange(100)
    assert clock_skew(times, times + 700, 1000).offset_ms == -300


@pytest.mark.parametrize("other", [np.empty(0, np.int64), np.array([DAY_MS])])
def test_diagnostics_that_never_met_have_no_skew(other: Times) -> None:
    skew = clock_skew(1000 * np.arange(5), other, 1000)
    assert skew.pairs == 0
    assert np.isnan([skew.offset_ms, skew.spread_ms]).all()
    assert clock_skew(other[:0], other, 1000).pairs == 0


@pytest.mark.parametrize("interval_ms", [0.0, -1.0, np.nan])
def test_an_interval_that_is_not_positive_is_refused(interval_ms: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        find_gaps(seconds(0, 1), interval_ms)
