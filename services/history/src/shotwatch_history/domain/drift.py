"""Drift: recent measurements of a device compared with the training data of the champion."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.statistics import Baseline
from shotwatch_shots.drift import Drift, FeatureDrift
from shotwatch_shots.features.severities import least_deviation
from shotwatch_shots.vocabulary import Severity

Values = NDArray[np.float64]
Columns = Mapping[str, Values]

FEWEST_MEDIANS = 5
"""Minimum number of batches from which the present level of a feature is computed."""
BEYOND = 3.0
"""Robust standard deviations of the training period; one normal shot in 370 exceeds them."""
MATTERS = 2.0
"""Minimum shift that matters, in standard deviations.

Half of the normal shots are then in a range in which only one in forty was during training.
"""
CLEAR = 4.0
"""Shift from which the model flags most shots instead of few, in standard deviations."""


def measure_drift(
    baselines: Mapping[str, Baseline], medians: Columns, newest: Columns
) -> dict[str, FeatureDrift]:
    """Return how far features are from their reference; omit those with too few medians.

    Args:
        baselines: the champion's references of one device.
        medians: of recent batches: feature → (b,), NaN where there is none.
        newest: values of single shots: feature → (n,), NaN where there is none.
    """
    known = {name: _known(medians.get(name)) for name in baselines}
    return {
        name: _feature(baselines[name], values, _known(newest.get(name)))
        for name, values in known.items()
        if len(values) >= FEWEST_MEDIANS
    }


def shifted(drift: Drift) -> dict[str, FeatureDrift]:
    """Return the features whose shift matters, the largest shift first."""
    far = {name: of for name, of in drift.features.items() if _matters(name, of)}
    return dict(sorted(far.items(), key=lambda item: -abs(item[1].shift)))


def _matters(name: str, of: FeatureDrift) -> bool:
    return abs(of.shift) >= MATTERS and abs(of.median - of.centre) >= least_deviation(name, of.centre)


def severity_of(shift: float) -> Severity:
    """Return the severity of a shift that matters."""
    return Severity.WARNING if abs(shift) >= CLEAR else Severity.INFO


def why(drift: Drift, features: Mapping[str, FeatureDrift]) -> str:
    """Return one sentence for the person on shift; `features` have shifted, the largest shift first."""
    name, worst = next(iter(features.items()))
    side = "above" if worst.shift > 0 else "below"
    return (
        f"{name.replace('_', ' ')} of {drift.device} is {abs(worst.shift):.1f} σ {side} what model version "
        f"{drift.version} was trained on{_more(len(features) - 1)}: it may be time to train again"
    )


def _more(features: int) -> str:
    match features:
        case 0:
            return ""
        case 1:
            return ", and so is 1 more feature"
        case _:
            return f", and so are {features} more features"


def _known(values: Values | None) -> Values:
    return np.empty(0) if values is None else values[np.isfinite(values)]


def _feature(baseline: Baseline, medians: Values, newest: Values) -> FeatureDrift:
    median = float(np.median(medians))
    far = np.abs(baseline.deviations(newest)) > BEYOND
    return FeatureDrift(
        centre=baseline.centre,
        median=median,
        shift=(median - baseline.centre) / baseline.sigma,
        beyond=float(far.mean()) if len(far) else None,
    )
