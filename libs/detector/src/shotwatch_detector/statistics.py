"""The reference of a feature of a device, and the surprisal of a deviation from it.

The surprisal is -log₁₀ of the probability that a normal shot deviates as far: 3 is once in a thousand shots.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import log_ndtr, ndtri_exp

from shotwatch_detector.arrays import Values
from shotwatch_shots.features.spec import Indicator, Side

FEWEST_TRAINING = 50
"""Fewest training shots from which a reference can be measured."""
FEWEST_CALIBRATION = 20
"""Fewest calibration shots from which a threshold can be set."""
SIGMA_OF_MAD = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""
TAIL_SHARES = np.array([0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])
"""Points at which the tail is fitted: the deviations that these shares of the shots exceed."""
FEWEST_BEYOND = 4
"""Shots that must lie beyond the last of these points: fewer do not determine where it is."""
TRUSTED_SHARE = 0.02
"""One shot in a hundred may be an anomaly. Points further out count only where they agree with the tail so
far.
"""
OUTER_SHARE = 0.02
"""The tail is no shorter than the points from this one on outwards; the inner ones only show its shape."""
OUTLIER_SURPRISAL = 3.0
"""Calibration shots that the tail predicts only once in a thousand times their number are treated as
anomalies.
"""
SHAPES = (0.47, 1.0)
"""Smallest and largest shape of a tail. 1 is a normal distribution; 0.58 is about exponential."""
HEAVIER = 1.4
"""A tail that is heavier than normal where shots are seen is heavier still beyond, such as that of a logistic
distribution or of a maximum (Gumbel). The measured difference of its shape from 1 is multiplied by this.
"""
SMALLEST_REACH = 2.0
"""Smallest deviation that one shot in a hundred exceeds, in robust standard deviations."""
RESERVE = 2.0
"""Divided by the root of the number of shots: the relative reserve added to the length of a measured tail."""
DECIDING_SURPRISAL = 6.0
"""Once in a million shots: about here lies the limit between normal and anomalous shots."""
RUN = 12
"""Number of consecutive shots whose median shows whether the level has shifted."""
RUN_STEP = 6
"""Number of shots from one run to the next."""
SIGMA_OF_MEDIAN = 1.2533 / np.sqrt(RUN)
"""Standard deviation of the median of a run of normal deviates, relative to that of a single one."""

_SURPRISAL_OF_SIDE = {Side.BOTH: 0.0, Side.HIGH: np.log10(2), Side.LOW: np.log10(2)}
"""A deviation to one side only is half as probable as one to either side."""
DRIFT_RESERVE = 2.0
"""Factor on the smallest reach of run medians: slow drifts move them, and calibration saw only a few."""


def _deviates(surprisals: Values | float) -> Values:
    """Return the distances from the mean that a normal deviate exceeds with these surprisals."""
    deviates: Values = -ndtri_exp(-np.log(10) * np.asarray(surprisals) - np.log(2))
    return deviates


_DEVIATE_OF_REACH = float(_deviates(2.0))


@dataclass(frozen=True, slots=True)
class Tail:
    """The probability that a normal shot deviates by d or more to the side that matters.

    It is the probability that a normal deviate is at least z from its mean, z = z₀ (d / reach)^shape, with
    probability 1 % at z₀ = 2.58. So a normal distribution is extrapolated as what it is, and a heavier one
    (shape < 1) as far as it is heavier.
    """

    reach: float
    """Deviation that one shot in a hundred exceeds to either side, or one in two hundred to the only side."""
    shape: float

    def surprisals(self, distances: Values) -> Values:
        """Return the surprisal of deviations to that side, ≥ 0: (n,)."""
        deviates = _DEVIATE_OF_REACH * (distances / self.reach) ** self.shape
        surprisals: Values = -(log_ndtr(-deviates) + np.log(2)) / np.log(10)
        return surprisals

    def distance(self, surprisal: float) -> float:
        """Return the deviation that has this surprisal."""
        return float(self.reach * (_deviates(surprisal) / _DEVIATE_OF_REACH) ** (1 / self.shape))


def tail_of_weibull(tail: Tail, side: Side) -> Tail:
    """Return the tail that is nearest to P(≥ d) = 100^-(d / reach)^shape, as bundles before format 5 have it.

    The two agree for one shot in a hundred, and where anomalies begin.
    """
    ratio = (DECIDING_SURPRISAL / 2) ** (1 / tail.shape)
    near, far = (_deviates(each - _SURPRISAL_OF_SIDE[side]) for each in (2.0, DECIDING_SURPRISAL))
    shape = float(np.log(far / near) / np.log(ratio))
    return Tail(tail.reach * float(_DEVIATE_OF_REACH / near) ** (1 / shape), shape)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The reference of one feature of one device."""

    centre: float
    sigma: float
    tail: Tail
    """Tail of deviations in sigma."""
    run_tail: Tail
    """The same for the median of a run of shots, in which the jitter of single shots is averaged out."""
    side: Side
    independent: int = 1
    """Number of independent shots that it was learned from (`shotwatch_detector.evidence`).

    1 in bundles of releases that did not count them.
    """
    members: float | None = None
    """Effective number of statistics of its place that answer the same question
    (`shotwatch_detector.questions`).

    None in bundles of releases that did not measure it: then each of them counts.
    """

    def deviations(self, values: Values) -> Values:
        """Return (value - centre) / sigma: (n,)."""
        return (values - self.centre) / self.sigma

    def surprisals(self, values: Values) -> Values:
        """Return the surprisal of values on the side that matters: (n,); 0 without a value."""
        distances = _distances(self.deviations(values), self.side)
        surprisals = self.tail.surprisals(distances) + _SURPRISAL_OF_SIDE[self.side] * (distances > 0)
        known: Values = np.nan_to_num(surprisals, nan=0.0)
        return known

    def of_runs(self) -> "Baseline":
        """Return the reference by which the medians of runs are judged."""
        return replace(self, tail=self.run_tail)


def medians_of_runs(values: Values) -> Values:
    """Return the median of each run of consecutive shots: (runs,); NaN if one of its shots has no value.

    Run r ends with shot `last_of_run(r)`; it overlaps half of the previous run.
    """
    if len(values) < RUN:
        return np.empty(0)
    medians: Values = np.median(sliding_window_view(values, RUN)[::RUN_STEP], axis=1)
    return medians


def last_of_run(run: int) -> int:
    """Return the index of the last shot of a run."""
    return run * RUN_STEP + RUN - 1


def measure_baseline(
    training: Values, calibration: Values, indicator: Indicator, independent: int
) -> Baseline | None:
    """Measure centre and sigma from the training shots, the tails from the later calibration shots.

    The calibration shots were not used for the centre, so a drift between the two makes the tails longer. The
    estimate is robust: one shot in a hundred may be an anomaly. `independent` of all these shots are
    independent of each other. Return None if there are too few shots with a value.
    """
    training, calibration = (values[np.isfinite(values)] for values in (training, calibration))
    if len(training) < FEWEST_TRAINING or len(calibration) < FEWEST_CALIBRATION:
        return None
    centre = float(np.median(training))
    spread = SIGMA_OF_MAD * float(np.median(np.abs(training - centre)))
    sigma = max(spread, indicator.floor, indicator.relative_floor * abs(centre))
    if sigma == 0:
        return None
    deviations = (calibration - centre) / sigma
    medians = medians_of_runs(deviations)
    return Baseline(
        centre=centre,
        sigma=sigma,
        tail=fit_tail(deviations, indicator.side, SMALLEST_REACH),
        run_tail=fit_tail(medians, indicator.side, DRIFT_RESERVE * SMALLEST_REACH * SIGMA_OF_MEDIAN),
        side=indicator.side,
        independent=independent,
    )


def fit_tail(deviations: Values, side: Side, smallest_reach: float) -> Tail:
    """Fit the tail of deviations to the side that matters.

    The tail is no shorter than measured, and its reserve grows as the number of shots falls. It is fitted
    first to the inner part of the deviations, then to all that do not contradict the first fit.
    """
    distances = _distances(deviations, side)
    inner = _fit(distances, side, TAIL_SHARES[TAIL_SHARES >= TRUSTED_SHARE], smallest_reach)
    expected = inner.surprisals(distances) < OUTLIER_SURPRISAL + np.log10(max(len(distances), 1))
    return _fit(distances[expected], side, TAIL_SHARES, smallest_reach)


def _distances(deviations: Values, side: Side) -> Values:
    """Return how far deviations are to the side that matters: ≥ 0, NaN where they are NaN."""
    match side:
        case Side.BOTH:
            return np.abs(deviations)
        case Side.HIGH:
            return np.maximum(deviations, 0.0)
        case Side.LOW:
            return np.maximum(-deviations, 0.0)


def _fit(distances: Values, side: Side, shares: Values, smallest_reach: float) -> Tail:
    shares = shares[shares * len(distances) >= FEWEST_BEYOND]
    # With too few shots for any quantile, the tail is the heaviest one with the largest measured reach.
    if not len(shares):
        return Tail(max(smallest_reach, float(distances.max(initial=0.0))), SHAPES[0])
    deviates = _deviates(-np.log10(shares) - _SURPRISAL_OF_SIDE[side])
    quantiles = np.quantile(distances, 1 - shares)
    shape = _shape(quantiles, deviates)
    # The tail lies at or above all outer quantiles, and at or above the shortest tail where it decides.
    outer = shares <= max(OUTER_SHARE, shares[-1])
    reach = float((quantiles * (_DEVIATE_OF_REACH / deviates) ** (1 / shape))[outer].max())
    reserve = 1 + RESERVE / np.sqrt(len(distances))
    fitted, shortest = Tail(reach * reserve, shape), Tail(smallest_reach * reserve, SHAPES[1])
    return max(fitted, shortest, key=lambda tail: tail.distance(DECIDING_SURPRISAL))


def _shape(quantiles: Values, deviates: Values) -> float:
    """Return the slope of the log of normal deviates over the log of deviations, limited to `SHAPES`.

    If the values never deviate, or always by the same amount, it is the lightest tail. If there are too few
    points for a slope, it is the heaviest.
    """
    if quantiles[0] == quantiles[-1] and len(quantiles) > 1:
        return SHAPES[1]
    deviating = quantiles > 0
    if np.count_nonzero(deviating) < 2:
        return SHAPES[0]
    slope = np.polyfit(np.log(quantiles[deviating]), np.log(deviates[deviating]), 1)[0]
    return float(np.clip(1 - HEAVIER * (1 - slope), *SHAPES))
