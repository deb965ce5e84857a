"""The energy of a shot from the two halves of an energy meter."""

import numpy as np

from shotwatch_features.domain.feature import Feature, Features, FloatArray, ratio

REPORT = "ELI-NP report RST-2.3, energy of a shot"

ENERGY_FEATURES = (
    Feature(
        "energy",
        "J",
        (0, np.inf),
        "Mean of the meter's two energies when both are positive, else the one that is; NaN when neither is.",
        REPORT,
    ),
    Feature(
        "energy_disagreement",
        "",
        (0, 2),
        "|energy1 - energy2| over their mean; NaN unless both are positive.",
    ),
)


def measure_energies(energy1: FloatArray, energy2: FloatArray) -> Features:
    """ENERGY_FEATURES of n shots from both energies (n,) in J. A value that is not finite is not positive."""
    first, second = _positive_or_nan(energy1), _positive_or_nan(energy2)
    mean = first / 2 + second / 2
    return {
        "energy": np.where(np.isfinite(mean), mean, np.fmax(first, second)),
        "energy_disagreement": ratio(np.abs(first - second), mean),
    }


def _positive_or_nan(energy: FloatArray) -> FloatArray:
    return np.where(np.isfinite(energy) & (energy > 0), energy, np.nan)
