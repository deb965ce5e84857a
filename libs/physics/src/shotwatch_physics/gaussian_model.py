"""A frame as the sum of three axis-aligned two-dimensional Gaussians: the model and its derivatives.

A Gaussian is the product of a function of x and a function of y, and so is each of its derivatives. Hence JᵀJ
follows from one-dimensional sums, and everything that depends on the frame follows from its sums with
products of such functions. Neither the image of the model nor its Jacobian J is ever computed.

Along an axis the functions of a Gaussian are uᵐ g for m from 0 to 4, with u = (coordinate - centre) / sigma
and g = exp(-u²/2): up to m = 2 for first derivatives, up to m = 4 for second ones.
"""

import numpy as np
from numba import njit

from shotwatch_physics.feature import IN_LANES, FloatArray

GAUSSIANS = 3
OF_EACH = ("amplitude", "x", "y", "sigma_x", "sigma_y")
PARAMETER_NAMES = tuple(f"gaussian{k}_{name}" for k in range(1, GAUSSIANS + 1) for name in OF_EACH)
"""Amplitude (the frame's unit), centre and standard deviations (px) of each Gaussian, most light first."""

EACH, PARAMETERS = len(OF_EACH), len(PARAMETER_NAMES)
AMPLITUDE, X, Y, SIGMA_X, SIGMA_Y = range(EACH)
POWERS = 5
ALONG_X, ALONG_Y = (0, 1, 0, 2, 0), (0, 0, 1, 0, 2)
"""The derivative by each of OF_EACH has u to this power as a factor along x and along y."""


def _second_derivatives() -> FloatArray:
    """Return σ² ∂²g / g along one axis as polynomials in u (3, 3, 5).

    The first two axes are the parameters of the two derivatives: none, centre or sigma.
    """
    table = np.zeros((3, 3, POWERS))
    for by in range(3):
        table[0, by, by] = table[by, 0, by] = 1
    table[1, 1, [2, 0]] = 1, -1
    table[1, 2, [3, 1]] = table[2, 1, [3, 1]] = 1, -2
    table[2, 2, [4, 2]] = 1, -3
    return table


SECOND_DERIVATIVES = _second_derivatives()


@njit(cache=True, nogil=True)
def functions_along(axis: int, parameters: FloatArray, first: float, length: int) -> FloatArray:
    """Return uᵐ g along x (axis 0) or y (1) of pixels from coordinate `first` on: (15, length)."""
    functions = np.empty((GAUSSIANS * POWERS, length))
    for k in range(GAUSSIANS):
        centre, sigma = parameters[EACH * k + X + axis], parameters[EACH * k + SIGMA_X + axis]
        for pixel in range(length):
            u = (first + pixel - centre) / sigma
            value = np.exp(-u * u / 2)
            for m in range(POWERS):
                functions[POWERS * k + m, pixel] = value
                value *= u
    return functions


@njit(cache=True, nogil=True)
def light_and_centroid(
    parameters: FloatArray, corner: FloatArray, height: int, width: int
) -> tuple[float, float, float]:
    """Return Σ light of the model's image (height, width), and x and y of its centroid.

    `corner` is x and y of the image's first pixel.
    """
    of_x = functions_along(0, parameters, corner[0], width)
    of_y = functions_along(1, parameters, corner[1], height)
    light, along_x, along_y = 0.0, 0.0, 0.0
    for k in range(GAUSSIANS):
        amplitude, x, y, sigma_x, sigma_y = parameters[EACH * k : EACH * (k + 1)]
        sum_x, sum_y = of_x[POWERS * k].sum(), of_y[POWERS * k].sum()
        # With u = (coordinate - centre) / sigma, the first moment is centre Σ g + sigma Σ u g.
        light += amplitude * sum_x * sum_y
        along_x += amplitude * (x * sum_x + sigma_x * of_x[POWERS * k + 1].sum()) * sum_y
        along_y += amplitude * (y * sum_y + sigma_y * of_y[POWERS * k + 1].sum()) * sum_x
    return light, along_x / light, along_y / light


@njit(cache=True, nogil=True)
def overlaps(functions: FloatArray) -> FloatArray:
    """Return the sums over the pixels of the product of each two functions: (15, 15)."""
    sums = np.empty((GAUSSIANS * POWERS, GAUSSIANS * POWERS))
    for p in range(GAUSSIANS * POWERS):
        for q in range(p + 1):
            sums[p, q] = sums[q, p] = _product_sum(functions[p], functions[q])
    return sums


@njit(cache=True, nogil=True)
def frame_sums(frame: FloatArray, of_x: FloatArray, of_y: FloatArray) -> FloatArray:
    """Return the sums over the frame times a function of x and one of y of the same Gaussian: (3, 5, 5)."""
    sums = np.empty((GAUSSIANS, POWERS, POWERS))
    of_rows = np.empty((POWERS, frame.shape[0]))
    for k in range(GAUSSIANS):
        along_x, along_y = of_x[POWERS * k : POWERS * (k + 1)], of_y[POWERS * k : POWERS * (k + 1)]
        _sum_rows(frame, along_x, of_rows)
        for m in range(POWERS):
            for n in range(POWERS):
                sums[k, m, n] = _product_sum(of_rows[m], along_y[n])
    return sums


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _product_sum(one: FloatArray, other: FloatArray) -> float:
    """Return Σ one · other."""
    total = 0.0
    for place in range(np.uint64(len(one))):
        total += one[place] * other[place]
    return total


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _sum_rows(frame: FloatArray, functions: FloatArray, sums: FloatArray) -> None:
    """Compute Σ over each row of the frame (h, w) times each of five functions (5, w): `sums` (5, h).

    Two rows share what is read of the functions; a last row without a partner is its own. The function takes
    whole arrays, because a view of each row would take as long as the sums of a short one.
    """
    last = np.uint64(frame.shape[0] - 1)
    for row in range(np.uint64(0), last + np.uint64(1), np.uint64(2)):
        below = min(row + np.uint64(1), last)
        a0, a1, a2, a3, a4, b0, b1, b2, b3, b4 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for column in range(np.uint64(frame.shape[1])):
            a, b = frame[row, column], frame[below, column]
            f0, f1, f2 = functions[0, column], functions[1, column], functions[2, column]
            f3, f4 = functions[3, column], functions[4, column]
            a0, a1, a2, a3, a4 = a0 + a * f0, a1 + a * f1, a2 + a * f2, a3 + a * f3, a4 + a * f4
            b0, b1, b2, b3, b4 = b0 + b * f0, b1 + b * f1, b2 + b * f2, b3 + b * f3, b4 + b * f4
        sums[0, row], sums[1, row], sums[2, row], sums[3, row], sums[4, row] = a0, a1, a2, a3, a4
        sums[0, below], sums[1, below], sums[2, below], sums[3, below] = b0, b1, b2, b3
        sums[4, below] = b4


@njit(cache=True, nogil=True)
def model_sums(parameters: FloatArray, over_x: FloatArray, over_y: FloatArray) -> FloatArray:
    """Return the `frame_sums` of the model, from the overlaps of its functions."""
    sums = np.zeros((GAUSSIANS, POWERS, POWERS))
    for k in range(GAUSSIANS):
        for m in range(POWERS):
            for n in range(POWERS):
                for other in range(GAUSSIANS):
                    overlap = over_x[POWERS * k + m, POWERS * other] * over_y[POWERS * k + n, POWERS * other]
                    sums[k, m, n] += parameters[EACH * other + AMPLITUDE] * overlap
    return sums


@njit(cache=True, nogil=True)
def inner_derivatives(parameters: FloatArray) -> FloatArray:
    """Return 1 for amplitudes, 1 / sigma along their axis for the others: (15,)."""
    inner = np.ones(PARAMETERS)
    for first in range(0, PARAMETERS, EACH):
        for axis in range(2):
            inner[first + X + axis] = inner[first + SIGMA_X + axis] = 1 / parameters[first + SIGMA_X + axis]
    return inner


@njit(cache=True, nogil=True)
def derivative_factors(parameters: FloatArray) -> FloatArray:
    """Return the factors that turn uᵐ g(x) uⁿ g(y) into the model's derivative by each parameter: (15,)."""
    factors = inner_derivatives(parameters)
    for p in range(PARAMETERS):
        if p % EACH != AMPLITUDE:
            factors[p] *= parameters[p - p % EACH]
    return factors


@njit(cache=True, nogil=True)
def normal_matrix(parameters: FloatArray, over_x: FloatArray, over_y: FloatArray) -> FloatArray:
    """Return JᵀJ (15, 15)."""
    factors = derivative_factors(parameters)
    matrix = np.empty((PARAMETERS, PARAMETERS))
    for p in range(PARAMETERS):
        first, i = POWERS * (p // EACH), p % EACH
        for q in range(PARAMETERS):
            second, j = POWERS * (q // EACH), q % EACH
            overlap_x = over_x[first + ALONG_X[i], second + ALONG_X[j]]
            overlap_y = over_y[first + ALONG_Y[i], second + ALONG_Y[j]]
            matrix[p, q] = factors[p] * factors[q] * overlap_x * overlap_y
    return matrix


@njit(cache=True, nogil=True)
def slope_of(parameters: FloatArray, residual_sums: FloatArray) -> FloatArray:
    """Return Jᵀr (15,) of the residual r = frame - model: half the downward slope of Σ r²."""
    slope = derivative_factors(parameters)
    for p in range(PARAMETERS):
        slope[p] *= residual_sums[p // EACH, ALONG_X[p % EACH], ALONG_Y[p % EACH]]
    return slope


@njit(cache=True, nogil=True)
def residual_curvature(parameters: FloatArray, residual_sums: FloatArray) -> FloatArray:
    """Return Σ r times the model's second derivatives (15, 15), which vanish between two Gaussians."""
    inner = inner_derivatives(parameters)
    curvature = np.zeros((PARAMETERS, PARAMETERS))
    for first in range(0, PARAMETERS, EACH):
        for i in range(EACH):
            for j in range(1, EACH):
                along_x = SECOND_DERIVATIVES[ALONG_X[i], ALONG_X[j]]
                along_y = SECOND_DERIVATIVES[ALONG_Y[i], ALONG_Y[j]]
                value = inner[first + i] * inner[first + j]
                if i != AMPLITUDE:
                    value *= parameters[first + AMPLITUDE]
                value *= weighted_sum(residual_sums[first // EACH], along_x, along_y)
                curvature[first + i, first + j] = curvature[first + j, first + i] = value
    return curvature


@njit(cache=True, nogil=True)
def weighted_sum(sums: FloatArray, along_x: FloatArray, along_y: FloatArray) -> float:
    total = 0.0
    for m in range(POWERS):
        for n in range(POWERS):
            total += along_x[m] * along_y[n] * sums[m, n]
    return total


@njit(cache=True, nogil=True)
def residual_equations(
    frame: FloatArray, corner: FloatArray, parameters: FloatArray
) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """Return Σ r² - Σ frame², Jᵀr (15,), JᵀJ (15, 15) and half the Hessian of Σ r² (15, 15).

    Args:
        frame: (h, w) without negative pixels.
        corner: x and y of its first pixel.
        parameters: (15,) of the model.
    """
    of_x = functions_along(0, parameters, corner[0], frame.shape[1])
    of_y = functions_along(1, parameters, corner[1], frame.shape[0])
    over_x, over_y = overlaps(of_x), overlaps(of_y)
    of_frame = frame_sums(frame, of_x, of_y)
    of_residual = of_frame - model_sums(parameters, over_x, over_y)
    amplitudes = parameters[::EACH]
    change = -(amplitudes * (of_frame[:, 0, 0] + of_residual[:, 0, 0])).sum()
    normal = normal_matrix(parameters, over_x, over_y)
    hessian = normal - residual_curvature(parameters, of_residual)
    return change, slope_of(parameters, of_residual), normal, hessian
