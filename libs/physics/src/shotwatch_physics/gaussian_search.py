"""The Levenberg-Marquardt search for the three Gaussians that are closest to a frame."""

import numpy as np
from numba import njit

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.gaussian_model import EACH, GAUSSIANS, PARAMETERS, residual_equations

NARROWEST = 0.5
"""Smallest sigma (px): narrower Gaussians lie on one pixel, whatever their width."""
ORTHOGONAL = 1e-6
"""The search has converged when the cosine between the residual and each free derivative is at most this."""
ROUNDING = 1e-14
"""Residuals below this share of the frame's Σ light² are zero."""
MAX_ITERATIONS = 200
FIRST_DAMPING, LARGEST_DAMPING = 1e-3, 1e12


@njit(cache=True, nogil=True)
def search_gaussians(
    frame: FloatArray, corner: FloatArray, start: FloatArray
) -> tuple[FloatArray, float, bool, int]:
    """Return a local minimum of Σ (frame - model)², found downhill from `start` (15,).

    Levenberg-Marquardt with Marquardt's scaling and Nielsen's damping (Madsen, Nielsen & Tingleff, Methods
    for Non-Linear Least Squares Problems, 2004, 3.2), with the whole Hessian in place of JᵀJ. The residual of
    three Gaussians on a real beam is not small, so with JᵀJ alone the search takes six times as many
    iterations.

    Centres stay on the frame, sigmas between NARROWEST and the frame's longer side, and amplitudes at 0 or
    above: two nearly equal Gaussians with large amplitudes of opposite sign would not describe a beam. A step
    is cut off at these bounds, and a parameter that is pushed against its bound does not move.

    Returns:
        The parameters (15,), Σ (frame - model)², whether the search converged, and its iterations.
    """
    power = (frame * frame).sum()
    low, high = bounds(frame.shape[0], frame.shape[1], corner)
    here = np.minimum(np.maximum(start, low), high)
    change, slope, normal, hessian = residual_equations(frame, corner, here)
    damping, growth, iterations, converged = FIRST_DAMPING, 2.0, 0, False
    while iterations < MAX_ITERATIONS and damping < LARGEST_DAMPING:
        unit = units_of_free(here, slope, normal, low, high)
        residual = max(power + change, 0.0)
        # Converged: the residual is rounding error, or orthogonal to each free derivative of the model.
        converged = residual <= ROUNDING * power or np.abs(slope * unit).max() <= ORTHOGONAL * np.sqrt(
            residual
        )
        if converged:
            break
        iterations += 1
        step, solved = damped_step(hessian, slope, unit, damping)
        gain = 0.0
        if solved:
            there = np.minimum(np.maximum(here + step, low), high)
            equations = residual_equations(frame, corner, there)
            gain = gain_of(there - here, change - equations[0], slope, hessian)
        # Nielsen's rule: a good step lowers the damping, successive bad ones raise it ever faster.
        if gain > 0:
            here, (change, slope, normal, hessian) = there, equations
            damping, growth = damping * max(0.1, 1 - (2 * gain - 1) ** 3), 2.0
        else:
            damping, growth = damping * growth, 2 * growth
    return here, max(power + change, 0.0), converged, iterations


@njit(cache=True, nogil=True)
def bounds(height: int, width: int, corner: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest values of the parameters: (15,) each."""
    widest = float(max(height, width))
    low, high = np.empty((GAUSSIANS, EACH)), np.empty((GAUSSIANS, EACH))
    low[:] = np.array([0.0, corner[0], corner[1], NARROWEST, NARROWEST])
    high[:] = np.array([np.inf, corner[0] + width - 1, corner[1] + height - 1, widest, widest])
    return low.ravel(), high.ravel()


@njit(cache=True, nogil=True)
def units_of_free(
    here: FloatArray, slope: FloatArray, normal: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Return the change of each parameter that changes the model by 1 (15,); 0 if it cannot move.

    Centre and width of a Gaussian without amplitude cannot move, nor can a parameter that is pushed out of
    its bounds.
    """
    unit = np.zeros(PARAMETERS)
    for p in range(PARAMETERS):
        pushed_out = (here[p] <= low[p] and slope[p] < 0) or (here[p] >= high[p] and slope[p] > 0)
        if normal[p, p] > 0 and not pushed_out:
            unit[p] = 1 / np.sqrt(normal[p, p])
    return unit


@njit(cache=True, nogil=True)
def damped_step(
    hessian: FloatArray, slope: FloatArray, unit: FloatArray, damping: float
) -> tuple[FloatArray, bool]:
    """Return the step (15,) to the lowest point of the damped parabola, and whether the parabola has one."""
    # Scaling by `unit` gives all parameters the same weight. Those that cannot move have unit 0, so no step.
    factor = np.empty((PARAMETERS, PARAMETERS))
    for p in range(PARAMETERS):
        for q in range(PARAMETERS):
            factor[p, q] = hessian[p, q] * unit[p] * unit[q]
        factor[p, p] += damping
    if not factorise(factor):
        return np.zeros(PARAMETERS), False
    return unit * solution(factor, slope * unit), True


@njit(cache=True, nogil=True)
def factorise(matrix: FloatArray) -> bool:
    """Replace the lower triangle by Cholesky's factor; return whether the matrix is positive definite."""
    for p in range(PARAMETERS):
        for q in range(p + 1):
            rest = matrix[p, q]
            for k in range(q):
                rest -= matrix[p, k] * matrix[q, k]
            if p > q:
                matrix[p, q] = rest / matrix[q, q]
            elif rest > 0:
                matrix[p, p] = np.sqrt(rest)
            else:
                return False
    return True


@njit(cache=True, nogil=True)
def solution(factor: FloatArray, right: FloatArray) -> FloatArray:
    """Return x (15,) with L Lᵀ x = right for the lower triangular factor L."""
    x = right.copy()
    for p in range(PARAMETERS):
        for k in range(p):
            x[p] -= factor[p, k] * x[k]
        x[p] /= factor[p, p]
    for p in range(PARAMETERS - 1, -1, -1):
        for k in range(p + 1, PARAMETERS):
            x[p] -= factor[k, p] * x[k]
        x[p] /= factor[p, p]
    return x


@njit(cache=True, nogil=True)
def gain_of(step: FloatArray, drop: float, slope: FloatArray, hessian: FloatArray) -> float:
    """Return the drop of Σ r² over the drop that the parabola predicted; 0 if it predicted none."""
    curved = 0.0
    for p in range(PARAMETERS):
        curved += step[p] * (hessian[p] * step).sum()
    expected = 2 * (slope * step).sum() - curved
    return drop / expected if expected > 0 else 0.0
