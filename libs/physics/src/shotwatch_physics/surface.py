"""Least-squares surfaces whose terms count only as far as they exceed their noise.

A term that is only noise would add its noise to every feature, so each term is shrunk by Breiman's
non-negative garrote (Technometrics 37, 1995): a coefficient of t standard errors is multiplied by max(0, 1 -
9/t²). Noise stays below three standard errors and contributes exactly nothing, a real slope is kept, and the
transition is continuous.
"""

import numpy as np
from numba import njit

from shotwatch_physics.feature import IN_LANES, FloatArray

GARROTE_SIGMAS = 3.0
"""Standard errors below which a term is noise."""
ROUNDING_VARIANCE = 1 / 12
"""Variance (counts²) of a pixel from rounding to whole counts: a residual is at least this."""
DEPENDENT = 1e-9
"""A term depends on the previous terms if they leave a smaller share of its sum of squares."""


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _weighted_sum(one: FloatArray, other: FloatArray, weights: FloatArray) -> float:
    """Return Σ one · other · weight."""
    total = 0.0
    for place in range(np.uint64(len(weights))):
        total += one[place] * other[place] * weights[place]
    return total


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    """Return Σ value · weight / Σ weight."""
    total, whole = 0.0, 0.0
    for place in range(np.uint64(len(weights))):
        total += values[place] * weights[place]
        whole += weights[place]
    return total / whole


@njit(cache=True, nogil=True)
def fit_surface(terms: FloatArray, values: FloatArray, pixels: FloatArray, fixed: int) -> FloatArray:
    """Return the coefficients (k,) of the `terms` (k, m) whose sum fits the `values` (m,).

    Each value is the mean of its number of `pixels` (m,), which is its weight; values without pixels do not
    count. The terms are made orthonormal
    in their order (Cholesky's decomposition of the normal equations). The first `fixed` coefficients are
    kept, the others are shrunk. With fewer than two values per term, or if a term depends on the previous
    ones, its coefficient is zero.
    """
    count, size = (pixels > 0).sum(), len(terms)
    normal, right = np.empty((size, size)), np.empty(size)
    for row in range(size):
        right[row] = _weighted_sum(terms[row], values, pixels)
        for column in range(row + 1):
            normal[row, column] = _weighted_sum(terms[row], terms[column], pixels)
    lower = np.zeros((size, size))
    orthonormal = np.zeros(size)
    # Cholesky's decomposition, row by row. `orthonormal` gets the coefficients of the orthonormal terms.
    for row in range(size):
        for column in range(row):
            if lower[column, column] > 0:
                rest = normal[row, column] - (lower[row, :column] * lower[column, :column]).sum()
                lower[row, column] = rest / lower[column, column]
        rest = normal[row, row] - (lower[row, :row] ** 2).sum()
        if rest > DEPENDENT * normal[row, row] and (row < fixed or count >= 2 * size):
            lower[row, row] = np.sqrt(rest)
            orthonormal[row] = (right[row] - (lower[row, :row] * orthonormal[:row]).sum()) / lower[row, row]
    # The orthonormal terms explain the sum of their squared coefficients. The rest is noise.
    left_over = _weighted_sum(values, values, pixels) - (orthonormal**2).sum()
    variance = max(left_over / max(count - size, 1), ROUNDING_VARIANCE)
    # The standard error of each of these coefficients is √variance, so the factor is 1 - 9/t².
    for row in range(fixed, size):
        if orthonormal[row] != 0:
            orthonormal[row] *= max(0.0, 1 - GARROTE_SIGMAS**2 * variance / orthonormal[row] ** 2)
    # Back substitution converts the coefficients to those of the given terms.
    coefficients = np.zeros(size)
    for row in range(size - 1, -1, -1):
        if lower[row, row] > 0:
            above = (lower[row + 1 :, row] * coefficients[row + 1 :]).sum()
            coefficients[row] = (orthonormal[row] - above) / lower[row, row]
    return coefficients
