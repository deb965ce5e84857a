"""The reference of a feature of a device, and the surprisal of a deviation from it.

The surprisal is -log₁₀ of the probability that a normal shot deviates as far: 3 is once in a thousand shots.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from shotwatch_detector.arrays import Values
from shotwatch_detector.tails import SURPRISAL_OF_SIDE, Heaviness, Tail, distances_to, fit_tail
from shotwatch_shots.features.spec import Indicator, Side

FEWEST_TRAINING = 50
"""Fewest training shots from which a reference can be measured."""
FEWEST_CALIBRATION = 20
"""Fewest calibration shots from which a threshold can be set."""
SIGMA_OF_MAD = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""
SMALLEST_REACH = 2.0
"""Smallest deviation that one shot in a hundred exceeds, in robust standard deviations."""
OF_MEASURED = Heaviness(1.0, 0.15)
"""Measured features: jitter is about normal."""
OF_LARGEST = Heaviness(1.35, 0.35)
"""The largest of many deviations."""
RUN = 12
"""Number of consecutive shots whose median shows whether the level has shifted."""
RUN_STEP = 6
"""Number of shots from one run to the next."""
SIGMA_OF_MEDIAN = 1.2533 / np.sqrt(RUN)
"""Standard deviation of the median of a run of normal deviates, relative to that of a single one."""

DRIFT_RESERVE = 2.0
"""Factor on the smallest reach of run medians: slow drifts move them, and calibration saw only a few."""


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
        distances = distances_to(self.deviations(values), self.side)
        surprisals = self.tail.surprisals(distances) + SURPRISAL_OF_SIDE[self.side] * (distances > 0)
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
    known = OF_LARGEST if indicator.spot_size else OF_MEASURED
    return Baseline(
        centre=centre,
        sigma=sigma,
        tail=fit_tail(deviations, indicator.side, SMALLEST_REACH, known),
        run_tail=fit_tail(medians, indicator.side, DRIFT_RESERVE * SMALLEST_REACH * SIGMA_OF_MEDIAN, known),
        side=indicator.side,
        independent=independent,
    )
