"""What a feature is: a named number per shot (`shotwatch_shots.features` says what each one is)."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Features = dict[str, FloatArray]
"""Feature name → its values (n,), one per shot; NaN only where the feature's description says so."""
IN_LANES = {"reassoc"}
"""`fastmath` of loops that add: a sum may run in lanes, whose number is the machine's, never the data's."""


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """numerator / denominator (n,) where the denominator is positive, NaN elsewhere."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
