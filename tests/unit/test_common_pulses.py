"""The grid of pulses, and blocks on the wire."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shotwatch_common.blocks import Block, read_block, write_block
from shotwatch_common.facility import Interval, Place
from shotwatch_common.identity import event_id, object_id
from shotwatch_common.pulses import epoch_ms, nearest_pulses, pulses_per_window, shot_id, window_starts

INTERVALS = {name: Interval(name, 20.0, 10**6) for name in ("100ms", "1s", "60s", "120s")}


@given(st.integers(0, 2**42), st.sampled_from(sorted(INTERVALS)))
def test_a_record_is_nearest_to_its_own_pulse(time: int, name: str) -> None:
    interval = INTERVALS[name]
    pulses, near = nearest_pulses(np.array([time]), interval)
    assert near.all()
    assert pulses[0] % interval.period_ms == 0
    assert abs(time - pulses[0]) <= interval.period_ms / 2


@given(st.integers(0, 2**42), st.sampled_from(sorted(INTERVALS)))
def test_a_window_holds_whole_pulses_and_a_minute_or_more(time: int, name: str) -> None:
    interval = INTERVALS[name]
    pulses, _ = nearest_pulses(np.array([time]), interval)
    start = int(window_starts(pulses, interval)[0])
    slot, rest = divmod(int(pulses[0]) - start, interval.period_ms)
    assert rest == 0
    assert 0 <= slot < pulses_per_window(interval)
    assert pulses_per_window(interval) * interval.period_ms >= 60_000


def test_a_shot_is_named_by_place_interval_and_pulse() -> None:
    pulse = epoch_ms(datetime(2022, 7, 1, 7, 33, 0, 100_000, tzinfo=UTC))
    assert shot_id(Place("LA", "A1", "11"), "100ms", pulse) == "LA-A1-11-100ms-20220701T073300.100"


def test_another_version_of_a_file_is_another_object_and_another_revision_another_event() -> None:
    assert object_id("b", "k", "1") != object_id("b", "k", "2")
    assert object_id("b", "k", "1") == object_id("b", "k", "1")
    assert event_id("s", "energy", 1) != event_id("s", "energy", 2)


ARRAYS: list[tuple[str, Any]] = [
    ("image", hnp.arrays(np.uint16, (3, 4, 5))),
    ("spectrum", hnp.arrays(np.float32, (3, 7), elements=st.floats(width=32))),
    ("energy1", hnp.arrays(np.float64, 3)),
]


@given(st.fixed_dictionaries(dict(ARRAYS)), st.lists(st.none() | st.text(), min_size=3, max_size=3))
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
