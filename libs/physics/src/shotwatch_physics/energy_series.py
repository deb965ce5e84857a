"""A series of energies: smoothing in time, drop-outs, and comparison with other series.

Its drift is a `history.trend`.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load at their first use, because they are slow to import
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.series import Times, check_series, robust_spread

OUTLIER_SIGMAS = 5.0
"""The limit in the report."""
TRUNCATE = 4.0
"""The Gaussian is cut off after this many standard deviations, as in scipy.ndimage."""
DROP_OUT_SHARE = 0.5
"""A shot with less than this share of the series' median energy is a drop-out."""
FEWEST_PAIRS = 3
"""With fewer pairs there is no correlation."""


@dataclass(frozen=True, slots=True)
class SmoothedEnergy:
    """A series smoothed in time, (n,) each."""

    smoothed: FloatArray
    """J; an outlier keeps its measured value, NaN where nothing was measured."""
    outlier: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DropOut:
    """Consecutive shots without energy: first and last of them (epoch ms), and their number."""

    start_ms: int
    end_ms: int
    shots: int


@dataclass(frozen=True, slots=True)
class LightCalibration:
    """Ratio of total intensity to energy over the shots where both are positive; NaN for fewer than three."""

    shots: int
    ratio: float
    """Median, counts/J."""
    spread: float
    """Robust standard deviation of the ratio, relative to it."""
    correlation: float
    """Spearman's; NaN when one of them did not vary."""


def smooth_energy(times_ms: Times, energies: FloatArray, sigma_s: float) -> SmoothedEnergy:
    """Smooth a series by a Gaussian filter in time on the values within five sigma, report RST-2.3.

    Sigma is the robust standard deviation about the median of the whole series, computed once: the ordinary
    one grows with the outliers that it is meant to find. A value outside is replaced by the mean of its
    nearest neighbours inside (at an end by the only one), and restored after filtering.

    Weights follow the true times and are normalised over the values present. So a series may be uneven, and
    may have gaps and missing values (not finite). It is not wrapped or reflected at its ends.

    Args:
        times_ms: (n,) epoch ms that never decrease.
        energies: (n,) J.
        sigma_s: standard deviation of the Gaussian, s, positive.

    Raises:
        ValueError: the series is not as above.
    """
    check_series(times_ms, energies)
    if not (np.isfinite(sigma_s) and sigma_s > 0):
        raise ValueError(f"the filter's width must be positive, not {sigma_s} s")
    measured = np.isfinite(energies)
    outlier = _outliers(energies, measured)
    filtered = _filter(times_ms[measured], _replace(energies, outlier)[measured], sigma_s * 1000)
    smoothed = np.full(len(energies), np.nan)
    smoothed[measured] = filtered
    return SmoothedEnergy(np.where(outlier, energies, smoothed), outlier)


def _outliers(energies: FloatArray, measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not measured.any():
        return np.zeros(len(energies), dtype=bool)
    deviation = np.abs(energies - np.median(energies[measured]))
    return measured & (deviation > OUTLIER_SIGMAS * robust_spread(energies[measured]))


def _replace(energies: FloatArray, outlier: NDArray[np.bool_]) -> FloatArray:
    """Return the series with each outlier replaced by the mean of its nearest neighbours inside."""
    inside = np.flatnonzero(np.isfinite(energies) & ~outlier)
    out = np.flatnonzero(outlier)
    following = np.searchsorted(inside, out)
    # At an end of the series, both indices are those of the only neighbour.
    before = inside[np.maximum(following - 1, 0)]
    after = inside[np.minimum(following, len(inside) - 1)]
    replaced = energies.copy()
    replaced[out] = energies[before] / 2 + energies[after] / 2
    return replaced


def _filter(times_ms: Times, values: FloatArray, sigma_ms: float) -> FloatArray:
    if len(values) == 0:
        return values
    reach = min(int(TRUNCATE * sigma_ms + 0.5), int(times_ms[-1] - times_ms[0]))
    distance = np.arange(reach + 1) / sigma_ms
    return _weighted_means(times_ms, values, np.exp(-(distance**2) / 2))


@njit(cache=True, nogil=True)
def _weighted_means(times_ms: Times, values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return each value's mean with those near it, weighted by distance: weights (reach + 1,), one per ms."""
    means = np.empty_like(values)
    first = 0
    for i in range(len(values)):
        while times_ms[i] - times_ms[first] >= len(weights):
            first += 1
        total, weight = 0.0, 0.0
        j = first
        while j < len(values) and times_ms[j] - times_ms[i] < len(weights):
            share = weights[abs(times_ms[j] - times_ms[i])]
            total += share * values[j]
            weight += share
            j += 1
        means[i] = total / weight
    return means


def drop_outs(times_ms: Times, energies: FloatArray, share: float = DROP_OUT_SHARE) -> list[DropOut]:
    """Return runs of shots whose energy is not finite, not positive, or below a share of the median.

    An energy that is not finite is missing.

    The median is that of the positive energies. Shots that were not recorded at all are gaps, not drop-outs
    (`device_states.find_gaps`).

    Args:
        times_ms: (n,) epoch ms that never decrease.
        energies: (n,) J.
        share: of the median.
    """
    check_series(times_ms, energies)
    positive = np.isfinite(energies) & (energies > 0)
    least = share * np.median(energies[positive]) if positive.any() else 0.0
    dropped = ~positive | (energies < least)
    bounds = np.diff(np.concatenate([[False], dropped, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(bounds == 1), np.flatnonzero(bounds == -1)
    return [
        DropOut(int(times_ms[start]), int(times_ms[end - 1]), int(end - start))
        for start, end in zip(starts, ends, strict=True)
    ]


def calibrate_light(energy: FloatArray, total_intensity: FloatArray) -> LightCalibration:
    """Return how a camera's total intensity (n,), counts, follows the energy (n,), J, of the same shots."""
    energy, light = _both_positive(energy, total_intensity)
    if len(energy) < FEWEST_PAIRS:
        return LightCalibration(len(energy), np.nan, np.nan, np.nan)
    ratio = light / energy
    middle = float(np.median(ratio))
    varies = np.ptp(energy) > 0 and np.ptp(light) > 0
    correlation = float(scipy.stats.spearmanr(energy, light).statistic) if varies else np.nan
    return LightCalibration(len(energy), middle, robust_spread(ratio) / middle, correlation)


def _both_positive(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    both = np.isfinite(first) & np.isfinite(second) & (first > 0) & (second > 0)
    return first[both], second[both]
