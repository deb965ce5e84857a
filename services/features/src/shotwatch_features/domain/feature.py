"""What a feature is: a named number per shot, with the unit, range and source that people are shown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Features = dict[str, FloatArray]
"""Feature name → its values (n,), one per shot; NaN only where the feature's description says so."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A measured quantity as the REST API, the events and the documentation name it."""

    name: str
    unit: str
    """Empty for pure numbers."""
    range: tuple[float, float]
    """Lowest and highest value that can occur, infinite where there is no bound."""
    description: str
    source: str = ""
    """The standard or report that defines it, where there is one."""


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """numerator / denominator (n,) where the denominator is positive, NaN elsewhere."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
