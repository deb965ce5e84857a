"""The grid of pulses: which pulse a record belongs to, what a shot and its window are called.

A pulse is a point of the grid `n × period` since the epoch. It is fixed beforehand, so every replica puts
a record into the same shot, in whatever order files arrive.
"""

from datetime import UTC, datetime
from time import time

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.facility import Interval, Place

WINDOW_MS = 60_000
"""Pulses are joined a minute at a time, the length of a recorder's file."""

Times = NDArray[np.int64]
"""Epoch milliseconds, UTC."""


def nearest_pulses(times: Times, interval: Interval) -> tuple[Times, NDArray[np.bool_]]:
    """The time (epoch ms) of each record's pulse, and whether the record lies within the join tolerance."""
    period = interval.period_ms
    pulses = (times + period // 2) // period * period
    return pulses, np.abs(times - pulses) <= interval.tolerance_ms


def window_length_ms(interval: Interval) -> int:
    """The length (ms) of the windows of an interval: a whole number of periods, a minute or more."""
    return -(-WINDOW_MS // interval.period_ms) * interval.period_ms


def window_starts(pulses: Times, interval: Interval) -> Times:
    """The start (epoch ms) of the window of each pulse."""
    length = window_length_ms(interval)
    return pulses // length * length


def pulses_per_window(interval: Interval) -> int:
    return window_length_ms(interval) // interval.period_ms


def instant(epoch_ms: int) -> datetime:
    """Epoch milliseconds as a UTC datetime."""
    return datetime.fromtimestamp(epoch_ms / 1000, tz=UTC)


def epoch_ms(time: datetime) -> int:
    """A datetime as epoch milliseconds."""
    return round(time.timestamp() * 1000)


def epoch_now() -> int:
    """The time as epoch milliseconds."""
    return round(time() * 1000)


def shot_id(place: Place, interval: str, pulse_ms: int) -> str:
    """`LA-A1-11-100ms-20220701T073300.100`."""
    return f"{place}-{interval}-{instant(pulse_ms):%Y%m%dT%H%M%S}.{pulse_ms % 1000:03d}"


def window_id(place: Place, interval: str, start_ms: int) -> str:
    """`LA-A1-11-100ms-20220701T073300`."""
    return f"{place}-{interval}-{instant(start_ms):%Y%m%dT%H%M%S}"


def window_start(window_id: str) -> int:
    """Return when a window starts (epoch ms), by its id."""
    return epoch_ms(datetime.strptime(f"{window_id.rpartition('-')[2]}+0000", "%Y%m%dT%H%M%S%z"))
