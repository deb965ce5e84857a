"""What is usual of a feature of a device, and how far from it is too far."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from shotwatch_detector.arrays import Values
from shotwatch_detector.catalogue import Side, Sign

FEWEST_TRAINING = 50
"""Shots without which nobody knows what is usual."""
FEWEST_CALIBRATION = 20
"""Shots without which no threshold can be set."""
SIGMA_OF_MAD = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""
SMALLEST_LIMIT = 8.0
"""Standard deviations that are never too far: a place has a hundred features, each a chance to be wrong."""
TAIL_QUANTILE = 0.98
"""Higher quantiles of a few hundred shots would let one anomaly among them set the threshold."""
TAIL_FACTOR = 3.5
"""Limit over that quantile: for normal deviations 8.1 σ, for exponential ones 1 in 10⁶ is further away."""
RUN = 12
"""Consecutive shots whose median says whether the level has shifted."""
RUN_STEP = 6
"""From one run to the next."""
SIGMA_OF_MEDIAN = 1.2533 / sqrt(RUN)
"""Standard deviation of the median of a run of normal deviates, over that of one of them."""


@dataclass(frozen=True, slots=True)
class Usual:
    """The reference of one feature of one device."""

    centre: float
    sigma: float
    limit: float
    """Threshold: deviations (in sigma) beyond it are anomalies."""
    shift_limit: float
    """The same for the median of a run of shots, in which the jitter of single shots is averaged out."""
    side: Side

    def deviations(self, values: Values) -> Values:
        """(value - centre) / sigma: (n,)."""
        return (values - self.centre) / self.sigma

    def exceedances(self, values: Values) -> Values:
        """Deviation over limit on the side that matters, 1 = at the threshold: (n,); 0 without a value."""
        deviations = self.deviations(values)
        match self.side:
            case Side.BOTH:
                unusual = np.abs(deviations)
            case Side.HIGH:
                unusual = np.maximum(deviations, 0.0)
            case Side.LOW:
                unusual = np.maximum(-deviations, 0.0)
        return np.nan_to_num(unusual / self.limit, nan=0.0)

    def of_runs(self) -> "Usual":
        """The reference by which the medians of runs are judged."""
        return replace(self, limit=self.shift_limit)


def medians_of_runs(values: Values) -> Values:
    """Median of each run of consecutive shots: (runs,); NaN where one of them has no value.

    Run r ends with shot `last_of_run(r)`; it overlaps half of the one before.
    """
    if len(values) < RUN:
        return np.empty(0)
    medians: Values = np.median(sliding_window_view(values, RUN)[::RUN_STEP], axis=1)
    return medians


def last_of_run(run: int) -> int:
    """Index of the last shot of a run."""
    return run * RUN_STEP + RUN - 1


def measure_usual(training: Values, calibration: Values, sign: Sign) -> Usual | None:
    """Centre and sigma from the training shots, the limit from the later calibration shots.

    The calibration shots were not used for the centre, so a drift between the two widens the limits. Robust:
    one shot in a hundred may be an anomaly. None when there are too few shots with a value.
    """
    training, calibration = (values[np.isfinite(values)] for values in (training, calibration))
    if len(training) < FEWEST_TRAINING or len(calibration) < FEWEST_CALIBRATION:
        return None
    centre = float(np.median(training))
    spread = SIGMA_OF_MAD * float(np.median(np.abs(training - centre)))
    sigma = max(spread, sign.floor, sign.relative_floor * abs(centre))
    if sigma == 0:
        return None
    deviations = (calibration - centre) / sigma
    return Usual(
        centre=centre,
        sigma=sigma,
        limit=_limit(deviations, SMALLEST_LIMIT),
        shift_limit=_limit(medians_of_runs(deviations), SMALLEST_LIMIT * SIGMA_OF_MEDIAN),
        side=sign.side,
    )


def _limit(deviations: Values, smallest: float) -> float:
    return max(smallest, TAIL_FACTOR * float(np.quantile(np.abs(deviations), TAIL_QUANTILE)))
