"""The energy of a shot from the two halves of an energy meter."""

import numpy as np

from shotwatch_physics.feature import Features, FloatArray, ratio


def measure_energies(energy1: FloatArray, energy2: FloatArray) -> Features:
    """Return ENERGY_FEATURES of n shots from both energies (n,) in J.

    Values that are not finite count as not positive.
    """
    first, second = _positive_or_nan(energy1), _positive_or_nan(energy2)
    mean = first / 2 + second / 2
    return {
        "energy": np.where(np.isfinite(mean), mean, np.fmax(first, second)),
        "energy_disagreement": ratio(np.abs(first - second), mean),
    }


def _positive_or_nan(energy: FloatArray) -> FloatArray:
    return np.where(np.isfinite(energy) & (energy > 0), energy, np.nan)
