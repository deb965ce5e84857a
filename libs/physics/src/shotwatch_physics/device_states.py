"""How a device worked, by its records: states, gaps, chatter, and its clock.

A record counts for the time until the next one. If the next one is late (a gap), or if there is none, it
counts for one sampling interval. So recorded and missing time add up to the time from the first record to the
last, plus one interval.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.series import HOUR_MS, Times, check_series, robust_spread

States = NDArray[Any]
"""The state of each record: codes or names."""

LATE_INTERVALS = 1.5
"""A record that comes later than this many sampling intervals after the previous one leaves a gap."""
RAPID_CHANGES = 4
RAPID_MS = 10_000
"""A state that changes four times within ten seconds chatters."""


@dataclass(frozen=True, slots=True)
class StateShare:
    """The time that a device was in a state, and its share of the recorded time."""

    state: Any
    time_ms: float
    share: float


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps in the records: from when the next one was due to when it came, epoch ms, (k,) each."""

    starts_ms: FloatArray
    ends_ms: FloatArray

    @property
    def count(self) -> int:
        return len(self.starts_ms)

    @property
    def total_ms(self) -> float:
        return float((self.ends_ms - self.starts_ms).sum())

    @property
    def longest_ms(self) -> float:
        """The longest gap in ms; 0 without a gap."""
        return float(np.max(self.ends_ms - self.starts_ms, initial=0))


@dataclass(frozen=True, slots=True)
class Burst:
    """Rapid changes of state: the times of the first and the last (epoch ms), and their number."""

    start_ms: int
    end_ms: int
    changes: int


@dataclass(frozen=True, slots=True)
class Chatter:
    """Changes of state from one record to the next."""

    changes: int
    per_hour: float
    """Changes per hour of recorded time; NaN without records."""
    bursts: tuple[Burst, ...]


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """The time by which the second diagnostic's clock is later, over the records that have a partner."""

    offset_ms: float
    """Median; NaN without pairs."""
    spread_ms: float
    """Robust standard deviation; NaN without pairs."""
    pairs: int


def state_shares(times_ms: Times, states: States, interval_ms: float) -> list[StateShare]:
    """Return the share of the recorded time in each state, by state; a gap is time in no state.

    Args:
        times_ms: (n,) epoch ms that never decrease.
        states: (n,) codes or names.
        interval_ms: sampling interval, ms.
    """
    check_series(times_ms, states)
    present, which = np.unique(states, return_inverse=True)
    time = np.bincount(which, weights=_recorded(times_ms, interval_ms), minlength=len(present))
    total = time.sum()
    return [
        StateShare(state, float(spent), float(spent / total))
        for state, spent in zip(present.tolist(), time, strict=True)
    ]


def find_gaps(times_ms: Times, interval_ms: float) -> Gaps:
    """Return where records at times (n,) came later than 1.5 sampling intervals after the previous one."""
    check_series(times_ms)
    late = np.flatnonzero(np.diff(times_ms) > LATE_INTERVALS * _positive(interval_ms))
    times = times_ms.astype(np.float64)
    return Gaps(times[late] + interval_ms, times[late + 1])


def _recorded(times_ms: Times, interval_ms: float) -> FloatArray:
    """Return the time (ms) that each record counts for."""
    spacing = np.append(np.diff(times_ms), interval_ms)[: len(times_ms)]
    return np.where(spacing > LATE_INTERVALS * _positive(interval_ms), interval_ms, spacing)


def _positive(interval_ms: float) -> float:
    if not interval_ms > 0:
        raise ValueError(f"a sampling interval must be positive, not {interval_ms} ms")
    return interval_ms


def state_chatter(times_ms: Times, states: States, interval_ms: float) -> Chatter:
    """Return how often and how rapidly the state changes.

    A change during a gap counts at the record that shows it.

    Args:
        times_ms: (n,) epoch ms that never decrease.
        states: (n,) codes or names.
        interval_ms: sampling interval, ms.
    """
    check_series(times_ms, states)
    changes = times_ms[1:][states[1:] != states[:-1]]
    hours = _recorded(times_ms, interval_ms).sum() / HOUR_MS
    per_hour = len(changes) / hours if hours > 0 else np.nan
    return Chatter(len(changes), float(per_hour), tuple(_bursts(changes)))


def _bursts(changes: Times) -> list[Burst]:
    """Return groups of four changes within ten seconds; groups that share a change are merged."""
    bursts: list[tuple[int, int]] = []
    rapid = changes[RAPID_CHANGES - 1 :] - changes[: 1 - RAPID_CHANGES] <= RAPID_MS
    for first in np.flatnonzero(rapid).tolist():
        last = first + RAPID_CHANGES - 1
        if bursts and first <= bursts[-1][1]:
            bursts[-1] = (bursts[-1][0], last)
        else:
            bursts.append((first, last))
    return [Burst(int(changes[first]), int(changes[last]), last - first + 1) for first, last in bursts]


def clock_skew(times_a: Times, times_b: Times, interval_ms: float) -> ClockSkew:
    """Return by how much the clock of b is later than the clock of a, for two diagnostics of one place.

    Each record of a is paired with the nearest record of b. Pairs that are half an interval or more apart do
    not count. Only a skew smaller than half an interval can be found: a larger one is reported as one that is
    smaller by whole intervals.

    Args:
        times_a: (n,) epoch ms that never decrease.
        times_b: (m,) epoch ms that never decrease.
        interval_ms: sampling interval, ms.
    """
    check_series(times_a)
    check_series(times_b)
    if len(times_b) == 0:
        return ClockSkew(np.nan, np.nan, 0)
    difference = _to_nearest(times_a, times_b)
    paired = difference[np.abs(difference) < _positive(interval_ms) / 2].astype(np.float64)
    offset = float(np.median(paired)) if len(paired) else np.nan
    return ClockSkew(offset, robust_spread(paired), len(paired))


def _to_nearest(times_a: Times, times_b: Times) -> Times:
    """Return the difference from each time of a to the nearest time of b."""
    following = np.searchsorted(times_b, times_a)
    before = times_b[np.maximum(following - 1, 0)] - times_a
    after = times_b[np.minimum(following, len(times_b) - 1)] - times_a
    return np.where(np.abs(before) <= np.abs(after), before, after)
