"""A feature is a named number per shot (`shotwatch_shots.features` defines each one)."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Light = NDArray[np.float32]
"""Frames (n, h, w) or one number per pixel (h, w), in counts without the dark level."""
Features = dict[str, FloatArray]
"""Feature name → its values (n,), one per shot; NaN only where the feature's description allows it."""
IN_LANES = {"reassoc"}
"""`fastmath` for loops that add: a sum may be split over SIMD lanes. Their number depends on the machine,
never on the data.
"""


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator (n,) where the denominator is positive, NaN elsewhere."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
