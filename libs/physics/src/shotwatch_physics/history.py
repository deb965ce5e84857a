"""A device compared with its own past: how unusual a value is, and where a slow quantity changed or drifts.

Change points and trends are computed from the medians of at most 500 bins with equal numbers of values. They
are early warnings over hours and days, not alarms about shots.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load at their first use, because they are slow to import
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.series import HOUR_MS, Times, check_series, robust_spread

MOST_BINS = 500
FEWEST_BINS = 20
"""Shorter series have no change points and no trend."""
SHORTEST_SEGMENT = 10
"""Fewest bins between two change points."""
OUTLIER_SIGMAS = 5.0
OUTLIER_WINDOW = 15
"""A bin that is further than OUTLIER_SIGMAS from the median of this many bins around it is left out."""
PENALTY = 16.0
"""Smallest gain in squared error over a bin's variance for a change point. Of 1,000 normal series of 300 bins
without a change, 4 get one; of those with a step of one standard deviation that lasts 60 bins, 953 do.
"""
CORRELATION_ERROR = 1.34
"""Standard error of the correlation of uncorrelated bins, found from their differences, times √bins."""
CORRELATION_SIGMAS = 2.5
"""A correlation below this many of its standard errors is set to zero."""
MOST_CORRELATED = 0.99
LEAST_CHANGE = 1e-150
"""Bins that differ by less are equal, because the square of the difference must be a number above zero."""
THEIL_SEN_ERROR = np.sqrt(np.pi / 3)
"""Standard error of the Theil-Sen slope over that of least squares, for normal noise."""
TREND_SIGMAS = 4.0
"""A trend is significant when its slope is at least this many of its standard errors."""


@dataclass(frozen=True, slots=True)
class PastComparison:
    """Values (n,) compared with the past of their device; NaN where the value is not finite."""

    percentile: FloatArray
    """Percentage of the past that is below the value, plus half of what equals it, 0 to 100; NaN without a
    past.
    """
    tail_probability: FloatArray
    """Probability of a value at least this far out on either side, by rank alone: twice (k + 1)/(n + 1) for k
    of n past values at or beyond it, at most 1.
    """
    sigmas: FloatArray
    """Distance from the median in robust standard deviations; NaN when the past did not vary."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A lasting step of a slow quantity."""

    time_ms: int
    """Time of the first bin after the change, epoch ms."""
    before: float
    """Median since the previous change point."""
    after: float
    """Median until the next change point."""
    sigmas: float
    """after - before in standard deviations of a bin's noise."""
    confidence: float
    """One minus the probability that noise makes such a step anywhere in the series (Bonferroni)."""


@dataclass(frozen=True, slots=True)
class Trend:
    """The straight line through a series (Theil-Sen)."""

    slope_per_hour: float
    total_change: float
    """Change along the line, from the first bin to the last."""
    sigmas: float
    """total_change in standard deviations of a bin's noise about the line; 0 when all bins are equal."""
    significant: bool
    """Whether the slope is more than four of its standard errors."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """The noise of bins about a level that changes slowly or seldom."""

    deviation: float
    """Standard deviation of a bin; zero only when all bins are equal."""
    inflation: float
    """Variance of a mean of bins, over its variance if the bins were uncorrelated."""


@dataclass(frozen=True, slots=True)
class _Bins:
    times_ms: Times
    medians: FloatArray

    def __len__(self) -> int:
        return len(self.medians)

    def where(self, kept: NDArray[np.bool_]) -> "_Bins":
        return _Bins(self.times_ms[kept], self.medians[kept])


def against_own_past(values: FloatArray, past: FloatArray) -> PastComparison:
    """Compare values (n,) with past values (m,) of the same quantity, without assuming a distribution.

    Past values that are not finite are left out.
    """
    known = np.sort(past[np.isfinite(past)])
    below = np.searchsorted(known, values, side="left")
    not_above = np.searchsorted(known, values, side="right")
    beyond = np.minimum(not_above, len(known) - below)
    comparison = {
        "percentile": 50 * (below + not_above) / len(known) if len(known) else np.full(len(values), np.nan),
        "tail_probability": np.minimum(1, 2 * (beyond + 1) / (len(known) + 1)),
        "sigmas": _robust_deviation(values, known),
    }
    measured = np.isfinite(values)
    return PastComparison(**{name: np.where(measured, value, np.nan) for name, value in comparison.items()})


def _robust_deviation(values: FloatArray, past: FloatArray) -> FloatArray:
    spread = robust_spread(past)
    return (values - np.median(past)) / spread if spread > 0 else np.full(len(values), np.nan)


def change_points(times_ms: Times, values: FloatArray) -> list[ChangePoint]:
    """Return where the level of a slow quantity changed, in the order of time; nothing for a short series.

    Optimal partitioning by squared error (PELT: Killick, Fearnhead and Eckley, JASA 107 (2012) 1590) of the
    bins without outliers. If neighbouring bins are correlated, the penalty grows with the variance of their
    mean. A drift appears as several steps in one direction.

    Args:
        times_ms: (n,) epoch ms that never decrease.
        values: (n,); those that are not finite are left out.
    """
    from ruptures import KernelCPD  # here, because it takes 0.7 s, which would delay every start of a service

    bins = _bin_medians(times_ms, values)
    if len(bins) < FEWEST_BINS or np.ptp(bins.medians) < LEAST_CHANGE:
        return []
    noise = _noise_of(bins)
    if noise.deviation == 0:
        return []
    scaled = (bins.medians - np.median(bins.medians)) / noise.deviation
    search = KernelCPD(kernel="linear", min_size=SHORTEST_SEGMENT).fit(scaled[:, None])
    bounds = [0, *search.predict(pen=PENALTY * noise.inflation)]
    return [_change_point(bins, noise, *bounds[i : i + 3]) for i in range(len(bounds) - 2)]


def _change_point(bins: _Bins, noise: _Noise, start: int, middle: int, end: int) -> ChangePoint:
    """Return the change at `middle` from the level since `start` to the level until `end`."""
    before, after = np.median(bins.medians[start:middle]), np.median(bins.medians[middle:end])
    sigmas = float(after - before) / noise.deviation
    error = np.sqrt(noise.inflation * (1 / (middle - start) + 1 / (end - middle)))
    # Bonferroni: noise could make a step at any bin and in either direction.
    chance = len(bins) * 2 * scipy.stats.norm.sf(abs(sigmas) / error)
    return ChangePoint(
        time_ms=int(bins.times_ms[middle]),
        before=float(before),
        after=float(after),
        sigmas=sigmas,
        confidence=max(0.0, 1 - float(chance)),
    )


def trend(times_ms: Times, values: FloatArray) -> Trend | None:
    """Return the line through a slow quantity (Theil-Sen on bins), or None if the series is too short.

    A slope is significant beyond four of its standard errors, which grow with the correlation of neighbouring
    bins. A step appears as a trend, too.

    Args:
        times_ms: (n,) epoch ms that never decrease.
        values: (n,); those that are not finite are left out.
    """
    bins = _bin_medians(times_ms, values)
    if len(bins) < FEWEST_BINS or bins.times_ms[0] == bins.times_ms[-1]:
        return None
    if np.ptp(bins.medians) < LEAST_CHANGE:
        return Trend(0.0, 0.0, 0.0, significant=False)
    hours = (bins.times_ms - bins.times_ms[0]) / HOUR_MS
    slope = float(scipy.stats.theilslopes(bins.medians, hours).slope)
    noise = _noise_of(bins)
    if noise.deviation == 0:
        return Trend(0.0, 0.0, 0.0, significant=False)
    error = THEIL_SEN_ERROR * noise.deviation * np.sqrt(noise.inflation / len(bins)) / hours.std()
    change = slope * float(hours[-1])
    return Trend(slope, change, change / noise.deviation, significant=bool(abs(slope) > TREND_SIGMAS * error))


def _bin_medians(times_ms: Times, values: FloatArray) -> _Bins:
    """Return medians of at most 500 bins with equal numbers of finite values, without outliers.

    The time of a bin is that of its first value.
    """
    check_series(times_ms, values)
    measured = np.isfinite(values)
    times_ms, values = times_ms[measured], values[measured]
    count = min(len(values), MOST_BINS)
    if count == 0:
        return _Bins(times_ms, values)
    starts = np.arange(count) * len(values) // count
    medians = np.array([np.median(part) for part in np.split(values, starts[1:])])
    return _without_outliers(_Bins(times_ms[starts], medians))


def _without_outliers(bins: _Bins) -> _Bins:
    deviation = np.abs(bins.medians - scipy.ndimage.median_filter(bins.medians, OUTLIER_WINDOW))
    noise = robust_spread(np.diff(bins.medians)) / np.sqrt(2)
    return bins.where(~(deviation > OUTLIER_SIGMAS * noise))


def _noise_of(bins: _Bins) -> _Noise:
    """Estimate the noise from the clipped differences d of neighbours, which steps and drifts hardly affect.

    Bins that follow an autoregressive process of first order with correlation ρ have E d² = 2σ²(1 - ρ), and
    adjacent differences are correlated by (ρ - 1)/2. One standard error is added to the estimate of ρ,
    because too small a value raises false alarms. It is set to zero if the estimate is compatible with zero.
    """
    differences = np.diff(bins.medians)
    typical = robust_spread(np.concatenate([differences, -differences]))
    differences = np.clip(differences, -OUTLIER_SIGMAS * typical, OUTLIER_SIGMAS * typical)
    squared = float(np.mean(differences**2))
    if squared == 0:
        return _Noise(deviation=0.0, inflation=1.0)
    estimate = 1 + 2 * float(np.mean(differences[1:] * differences[:-1])) / squared
    error = CORRELATION_ERROR / np.sqrt(len(bins))
    correlation = min(estimate + error, MOST_CORRELATED) if estimate > CORRELATION_SIGMAS * error else 0.0
    return _Noise(
        deviation=float(np.sqrt(squared / 2 / (1 - correlation))),
        inflation=float((1 + correlation) / (1 - correlation)),
    )
