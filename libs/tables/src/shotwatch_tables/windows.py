"""Functions of the values at earlier pulses.

A window is a number of pulses, not of shots: a shot that does not exist leaves a gap. So a result depends on
a known span of time before its shot, and is the same wherever a reader begins. Each window is
summed anew, because a running sum would depend on that as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""(n,); NaN where a value is missing."""


@dataclass(frozen=True, slots=True)
class Pulses:
    """The times of n shots of one series."""

    times: NDArray[np.int64]
    """Epoch ms, strictly ascending, (n,)."""
    period_ms: int


def previous(pulses: Pulses, values: Values, count: int) -> Values:
    """Return the value `count` pulses before each shot; NaN if that pulse has no shot."""
    times = pulses.times
    wanted = times - count * pulses.period_ms
    where = np.searchsorted(times, wanted)
    return np.where(times[where] == wanted, values[where], np.nan)


def rolling_mean(pulses: Pulses, values: Values, count: int) -> Values:
    """Return the mean of the values at each pulse and the count - 1 before; NaN if there is none."""
    starts = _starts(pulses, count)
    known = _known(starts, values)
    return _sums(starts, values) / np.where(known, known, np.nan)


def rolling_std(pulses: Pulses, values: Values, count: int) -> Values:
    """Return the standard deviation (n - 1) of these values; NaN if there are fewer than two."""
    starts = _starts(pulses, count)
    known, mean = _known(starts, values), rolling_mean(pulses, values, count)
    squares, shots = np.zeros(len(values)), np.arange(len(values))
    for back in range(int((shots - starts).max(initial=-1)) + 1):
        inside = np.flatnonzero(shots - back >= starts)
        squares[inside] += np.nan_to_num(values[inside - back] - mean[inside]) ** 2
    return np.sqrt(squares / np.where(known > 1, known - 1, np.nan))


def _starts(pulses: Pulses, count: int) -> NDArray[np.intp]:
    """Return the first shot of the window of each shot."""
    return np.searchsorted(pulses.times, pulses.times - (count - 1) * pulses.period_ms)


def _known(starts: NDArray[np.intp], values: Values) -> NDArray[np.int64]:
    """Return the number of values in each window."""
    before = np.concatenate([[0], np.cumsum(np.isfinite(values), dtype=np.int64)])
    known: NDArray[np.int64] = before[1:] - before[starts]
    return known


def _sums(starts: NDArray[np.intp], values: Values) -> Values:
    if not len(values):
        return values
    bounds = np.column_stack([starts, np.arange(1, len(values) + 1)]).ravel()
    padded = np.append(np.nan_to_num(values), 0.0)
    return np.add.reduceat(padded, bounds)[::2]
