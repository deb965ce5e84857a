"""The grid of pulses: which pulse a record belongs to, what a shot and its window are called.

A pulse is a point of the grid `n × period` since the epoch. The grid is fixed, and a record's pulse depends
on its file alone: every replica puts a record into the same shot, in whatever order files arrive.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.facility import Interval
from shotwatch_shots.place import ShotSeries

WINDOW_MS = 60_000
"""Pulses are joined a minute at a time, the length of a recorder's file."""

Times = NDArray[np.int64]
"""Epoch milliseconds, UTC."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The pulses of n records of one device in one file."""

    pulses: Times
    """Epoch ms of each record's pulse: (n,)."""
    distance: Times
    """How far (ms) each record is from where the device's own phase puts it: (n,)."""
    on_grid: NDArray[np.bool_]
    """Whether a pulse of the grid lies within the join tolerance of the record: (n,)."""


def assign_pulses(times: Times, interval: Interval) -> Assigned:
    """Return the pulse of each record of one device in one file.

    A device records with a phase of its own (`phase_ms`). A record belongs to the pulse that is nearest to
    its time less that phase. So the records of a device jitter about one pulse each, and not between two,
    even half a period away from the grid.
    """
    period = interval.period_ms
    from_grid = np.abs((times + period // 2) % period - period // 2)
    on_grid = from_grid <= interval.tolerance_ms
    phase = phase_ms(times[on_grid], period) if on_grid.any() else 0
    pulses = (times - phase + period // 2) // period * period
    return Assigned(pulses, np.abs(times - phase - pulses), on_grid)


def phase_ms(times: Times, period: int) -> int:
    """Return how long after its pulses a device records (ms): at least -1/4, less than 3/4 of a period.

    Modulo the period, times lie on a circle. The circle is cut at its widest gap, so that the records of the
    device lie side by side, and the phase is their median.

    A phase has to begin anew somewhere on the circle. It does so at 3/4 of a period: far from devices that
    record with the pulse, and from those that record half a period later. It allows more delay than lead,
    for a record is made after its shot. A device whose phase is 3/4 of a period, to within the error of
    the median, may change its pulse between two files; then one record is lost.

    Args:
        times: of one device in one file, at least one: (n,).
        period: of the grid (ms).
    """
    circle = np.sort(times % period)
    gaps = np.diff(circle, append=circle[0] + period)
    first = int(np.argmax(gaps)) + 1
    median = int(circle[(first + (len(circle) - 1) // 2) % len(circle)])
    return (median + period // 4) % period - period // 4


def window_length_ms(interval: Interval) -> int:
    """The length (ms) of the windows of an interval: a whole number of periods, a minute or more."""
    return -(-WINDOW_MS // interval.period_ms) * interval.period_ms


def window_starts(pulses: Times, interval: Interval) -> Times:
    """The start (epoch ms) of the window of each pulse."""
    length = window_length_ms(interval)
    return pulses // length * length


def pulses_per_window(interval: Interval) -> int:
    return window_length_ms(interval) // interval.period_ms


YEAR_10000_MS = 253_402_300_800_000
"""Epoch ms after the last time that a datetime can have."""


def instant(epoch_ms: int) -> datetime:
    """Epoch milliseconds as a UTC datetime."""
    return datetime.fromtimestamp(epoch_ms / 1000, tz=UTC)


def epoch_ms(time: datetime) -> int:
    """A datetime as epoch milliseconds."""
    return round(time.timestamp() * 1000)


def shot_id(series: ShotSeries, pulse_ms: int) -> str:
    """`LA-A1-11-100ms-20220701T073300.100`."""
    return f"{series}-{instant(pulse_ms):%Y%m%dT%H%M%S}.{pulse_ms % 1000:03d}"


def window_id(series: ShotSeries, start_ms: int) -> str:
    """`LA-A1-11-100ms-20220701T073300`."""
    return f"{series}-{instant(start_ms):%Y%m%dT%H%M%S}"


def window_start(window_id: str) -> int:
    """Return when a window starts (epoch ms), by its id.

    Raises:
        ValueError: it is no id of a window.
    """
    return epoch_ms(datetime.strptime(f"{window_id.rpartition('-')[2]}+0000", "%Y%m%dT%H%M%S%z"))
