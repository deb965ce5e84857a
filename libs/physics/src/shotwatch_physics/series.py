"""Common properties of all series of a device: their times, and robust location and spread."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray

Times = NDArray[np.int64]
"""Epoch milliseconds, UTC."""

HOUR_MS = 3_600_000

MAD_OF_NORMAL = 0.6744897501960817
"""Median absolute deviation of a normal distribution over its standard deviation."""
MEAN_DEVIATION_OF_NORMAL = float(np.sqrt(2 / np.pi))


def check_series(times_ms: Times, *columns: NDArray[Any]) -> None:
    """Raise an error if the arguments are not a series.

    Raises:
        ValueError: times are not (n,) whole milliseconds that never decrease, or a column is not (n,).
    """
    if times_ms.ndim != 1 or times_ms.dtype.kind != "i":
        raise ValueError(f"times must be (n,) whole milliseconds, not {times_ms.shape} {times_ms.dtype}")
    if (np.diff(times_ms) < 0).any():
        raise ValueError("times must not fall")
    for column in columns:
        if column.shape != times_ms.shape:
            raise ValueError(f"a column of shape {column.shape} does not belong to {times_ms.shape} times")


def robust_spread(values: FloatArray) -> float:
    """Return the standard deviation of the normal distribution with the same median absolute deviation.

    If more than half of the values are equal (a quantised quantity), it is computed from the mean absolute
    deviation about the median instead. So zero means that all values are equal. NaN for no values.
    """
    if len(values) == 0:
        return float("nan")
    deviation = np.abs(values - np.median(values))
    mad = float(np.median(deviation))
    return mad / MAD_OF_NORMAL if mad > 0 else float(deviation.mean()) / MEAN_DEVIATION_OF_NORMAL
