"""The grid of pulses, and blocks on the wire."""

from datetime import UTC, datetime
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shotwatch_common.block import Block
from shotwatch_common.blocks import read_block, write_block
from shotwatch_shots.facility import Interval
from shotwatch_shots.identity import event_id, object_id
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import (
    assign_pulses,
    epoch_ms,
    phase_ms,
    pulses_per_window,
    shot_id,
    window_starts,
)

pytestmark = pytest.mark.slow

INTERVALS = {name: Interval(name, 20.0, 10**6) for name in ("100ms", "1s", "60s", "120s")}


@given(st.integers(0, 2**42), st.sampled_from(sorted(INTERVALS)))
def test_a_lone_record_lies_a_little_before_its_pulse_or_up_to_three_quarters_after_it(
    time: int, name: str
) -> None:
    interval = INTERVALS[name]
    assigned = assign_pulses(np.array([time]), interval)
    assert assigned.on_grid.all()
    assert assigned.pulses[0] % interval.period_ms == 0
    assert -1 / 4 <= (time - assigned.pulses[0]) / interval.period_ms < 3 / 4


PHASES = st.fractions(-1, 1)
DEVIATIONS = st.lists(st.fractions(-1, 1), min_size=1, max_size=60)


def recorded(pulses: list[int], period: int, phase: Fraction, deviations: list[Fraction]) -> list[int]:
    """Times (ms) of records at these pulses: phase in periods, deviations in quarters of a period."""
    return [
        period * pulse + int(period * phase) + int((period // 4 - 1) * deviation)
        for pulse, deviation in zip(pulses, deviations, strict=True)
    ]


@given(
    st.sampled_from([33, 100, 1000, 60_000]),
    PHASES,
    DEVIATIONS,
    st.sets(st.integers(0, 599), min_size=60),
    st.randoms(),
)
def test_with_a_stable_phase_no_record_is_off_the_grid_or_shares_a_pulse(
    period: int, phase: Fraction, deviations: list[Fraction], pulses: set[int], random: Random
) -> None:
    chosen = sorted(random.sample(sorted(pulses), len(deviations)))
    times = recorded(chosen, period, phase, deviations)
    assigned = assign_pulses(np.array(times), Interval(f"{period}ms", 20.0, period // 2 + 1))
    assert assigned.on_grid.all()
    shifts = {int(pulse) // period - true for pulse, true in zip(assigned.pulses, chosen, strict=True)}
    assert len(shifts) == 1


@given(st.sampled_from([100, 1000, 60_000]), st.sampled_from([0, 1]), st.lists(DEVIATIONS, min_size=2))
def test_devices_in_phase_or_half_a_period_late_keep_their_pulses_from_file_to_file(
    period: int, halves: int, files: list[list[Fraction]]
) -> None:
    for deviations in files:
        pulses = list(range(len(deviations)))
        times = recorded(pulses, period, Fraction(halves, 2), deviations)
        assigned = assign_pulses(np.array(times), Interval(f"{period}ms", 20.0, period // 2))
        assert (assigned.pulses // period).tolist() == pulses


@given(DEVIATIONS)
def test_in_phase_the_pulse_is_the_nearest_as_ever(deviations: list[Fraction]) -> None:
    times = np.array(recorded(list(range(len(deviations))), 1000, Fraction(0), deviations))
    assigned = assign_pulses(times, INTERVALS["1s"])
    assert assigned.pulses.tolist() == (np.round(times / 1000) * 1000).tolist()


def test_a_few_stray_records_do_not_move_the_phase_of_all_others() -> None:
    times = np.sort(np.append(1000 * np.arange(60) + 500, [7_010, 20_900, 33_250]))
    assert phase_ms(times, 1000) == 500


def test_records_far_from_the_grid_have_no_state_in_the_phase() -> None:
    tight = Interval("1s", 20.0, 100)
    assigned = assign_pulses(np.array([30, 1500, 2500, 3500, 4030]), tight)
    assert assigned.on_grid.tolist() == [True, False, False, False, True]
    assert assigned.pulses[assigned.on_grid].tolist() == [0, 4000]


@given(st.integers(0, 2**42), st.sampled_from(sorted(INTERVALS)))
def test_a_window_holds_whole_pulses_and_a_minute_or_more(time: int, name: str) -> None:
    interval = INTERVALS[name]
    pulses = assign_pulses(np.array([time]), interval).pulses
    start = int(window_starts(pulses, interval)[0])
    slot, rest = divmod(int(pulses[0]) - start, interval.period_ms)
    assert rest == 0
    assert 0 <= slot < pulses_per_window(interval)
    assert pulses_per_window(interval) * interval.period_ms >= 60_000


def test_a_shot_is_named_by_place_interval_and_pulse() -> None:
    pulse = epoch_ms(datetime(2022, 7, 1, 7, 33, 0, 100_000, tzinfo=UTC))
    assert shot_id(ShotSeries.parse("LA-A1-11-100ms"), pulse) == "LA-A1-11-100ms-20220701T073300.100"


def test_another_version_of_a_file_is_another_object_and_another_revision_another_event() -> None:
    assert object_id("b", "k", "1") != object_id("b", "k", "2")
    assert object_id("b", "k", "1") == object_id("b", "k", "1")
    assert event_id("s", "energy", 1) != event_id("s", "energy", 2)


ARRAYS: list[dict[str, Any]] = [
    {},
    {"image": hnp.arrays(np.uint16, (3, 4, 5))},
    {"spectrum": hnp.arrays(np.float32, (3, 7), elements=st.floats(width=32))},
    {"energy1": hnp.arrays(np.float64, 3), "energy2": hnp.arrays(np.float64, 3)},
]


@given(st.one_of(map(st.fixed_dictionaries, ARRAYS)), st.lists(st.none() | st.text(), min_size=3, max_size=3))
def test_a_block_survives_the_wire(arrays: dict[str, Any], states: list[str | None]) -> None:
    block = Block("device", np.array([1, 2, 3]), states, np.array([True, False, True]), arrays)
    again = read_block(write_block(block))
    assert again.device == "device"
    assert list(again.state) == states
    assert again.time.tolist() == [1, 2, 3]
    assert again.readable.tolist() == [True, False, True]
    for name, array in arrays.items():
        assert again.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(again.arrays[name], array)


def test_a_block_is_read_without_a_copy() -> None:
    images = np.zeros((2, 3, 4), np.uint16)
    data = write_block(Block("d", np.array([1, 2]), ["ON", "ON"], np.ones(2, bool), {"image": images}))
    assert not read_block(data).arrays["image"].flags.owndata


@pytest.mark.parametrize("data", [b"", b"garbage", b"ARROW1\x00\x00 and then nothing"])
def test_what_is_no_block_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a block"):
        read_block(data)
