"""The size of a deviation in physical units, as sentences state it and as severities are decided by it."""

from collections.abc import Mapping

import numpy as np

from shotwatch_detector.arrays import Features, Values
from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import INDICATORS


def sizes_of(feature: str, values: Values, reference: float, measured: Features) -> Values:
    """Return the sizes of a feature's deviations in n shots: (n,); they are negative below the reference.

    They are shares of the peak for the score of a spot. For other features they are in the feature's unit if
    operators read it so, else shares of the reference.

    Args:
        feature: one that is judged.
        values: of the feature, (n,).
        reference: its usual value.
        measured: all values measured on its device.
    """
    indicator = INDICATORS[feature]
    if indicator.spot_size:
        return measured[indicator.spot_size]
    return (values - reference) / (1.0 if indicator.in_unit else abs(reference))


def size_of(contribution: Contribution, measured: Mapping[str, float]) -> float:
    """Return the size of one deviation (`sizes_of`); `measured` are all values measured on its device."""
    value, of_device = np.array([contribution.value]), {name: np.array([of]) for name, of in measured.items()}
    return float(sizes_of(contribution.feature, value, contribution.reference, of_device)[0])
