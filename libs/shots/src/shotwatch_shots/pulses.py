"""The grid of pulses: which pulse a record belongs to, and the ids of shots and windows.

A pulse is a point of the grid `n × period` since the epoch. The grid is fixed, and a record's pulse depends
on its file alone. So every replica assigns a record to the same shot, in whatever order files arrive.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.durations import duration_ms
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import ShotSeries

WINDOW_MS = 60_000
"""Pulses are joined one minute at a time, the length of a recorder's file."""

Times = NDArray[np.int64]
"""Epoch milliseconds, UTC."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The pulses of n records of one device in one file."""

    pulses: Times
    """Epoch ms of each record's pulse, (n,)."""
    distance: Times
    """Distance (ms) of each record from the time that the device's own phase predicts, (n,)."""
    on_grid: NDArray[np.bool_]
    """Whether a pulse of the grid is within the join tolerance of the record, (n,)."""


def assign_pulses(times: Times, interval: Interval) -> Assigned:
    """Return the pulse of each record of one device in one file.

    A device records with its own phase (`phase_ms`). A record belongs to the pulse that is nearest to its
    time minus that phase. So each record of a device jitters about one pulse, and not between two, even half
    a period away from the grid.
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
    device are adjacent, and the phase is their median.

    The phase must wrap around somewhere on the circle. It does so at 3/4 of a period: far from devices that
    record with the pulse, and from those that record half a period later. That point allows more delay than
    lead, because a record is made after its shot. If a device's phase is 3/4 of a period, to within the error
    of the median, its pulse may change between two files; then one record is lost.

    Args:
        times: times of one device in one file, at least one, (n,).
        period: period of the grid (ms).
    """
    circle = np.sort(times % period)
    # The last gap closes the circle: from the last time to the first one, a period later.
    gaps = np.diff(circle, append=circle[0] + period)
    first = int(np.argmax(gaps)) + 1
    median = int(circle[(first + (len(circle) - 1) // 2) % len(circle)])
    return (median + period // 4) % period - period // 4


def window_length_ms(interval: Interval) -> int:
    """Return the length (ms) of the windows of an interval: a whole number of periods, a minute or more."""
    return _window_length_ms(interval.period_ms)


def _window_length_ms(period_ms: int) -> int:
    return -(-WINDOW_MS // period_ms) * period_ms


def window_starts(pulses: Times, interval: Interval) -> Times:
    """Return the start (epoch ms) of the window of each pulse."""
    length = window_length_ms(interval)
    return pulses // length * length


def pulses_per_window(interval: Interval) -> int:
    return window_length_ms(interval) // interval.period_ms


YEAR_10000_MS = 253_402_300_800_000
"""Epoch ms after the last time that a datetime can represent."""


def instant(epoch_ms: int) -> datetime:
    """Convert epoch milliseconds to a UTC datetime."""
    return datetime.fromtimestamp(epoch_ms / 1000, tz=UTC)


def epoch_ms(time: datetime) -> int:
    """Convert a datetime to epoch milliseconds."""
    return round(time.timestamp() * 1000)


def shot_id(series: ShotSeries, pulse_ms: int) -> str:
    """Return the id of a shot, such as `LA-A1-11-100ms-20220701T073300.100`."""
    return f"{series}-{instant(pulse_ms):%Y%m%dT%H%M%S}.{pulse_ms % 1000:03d}"


def window_id(series: ShotSeries, start_ms: int) -> str:
    """Return the id of a window, such as `LA-A1-11-100ms-20220701T073300`."""
    return f"{series}-{instant(start_ms):%Y%m%dT%H%M%S}"


def window_of_shot(series: ShotSeries, pulse_ms: int) -> str:
    """Return the id of the window to which a shot belongs.

    Raises:
        ValueError: the interval of the series is not a duration.
    """
    length = _window_length_ms(duration_ms(series.interval))
    return window_id(series, pulse_ms // length * length)


def window_start(window_id: str) -> int:
    """Return the start of a window (epoch ms) from its id.

    Raises:
        ValueError: the text is not the id of a window.
    """
    return epoch_ms(datetime.strptime(f"{window_id.rpartition('-')[2]}+0000", "%Y%m%dT%H%M%S%z"))
