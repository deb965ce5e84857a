"""The two principal components of the three Gaussians' parameters: a frame becomes a point in a plane."""

from dataclasses import dataclass

import numpy as np

from shotwatch_physics.feature import FloatArray

COMPONENTS = 2
FEWEST_FITS = 20
"""With fewer fits, principal components of 15 parameters have no meaning."""
SIGMA_OVER_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Components:
    """The plane in which the parameters of a reference period vary most.

    Attributes:
        mean: (m,) of the parameters, in their own units.
        scale: (m,) robust standard deviations of the parameters, in their own units, > 0.
        axes: (2, m) orthonormal directions in scaled parameters; the largest entry of each is positive.
        explained: (2,) share of the scaled parameters' variance along each axis, the larger first.
    """

    mean: FloatArray
    scale: FloatArray
    axes: FloatArray
    explained: FloatArray


def fit_components(parameters: FloatArray) -> Components:
    """Return the principal components of parameters (n, m), scaled to give each the same weight.

    The scale is the median absolute deviation, so that a few fits that ended in another minimum do not lower
    the weight of a parameter. Rows that are not finite are left out.

    Raises:
        ValueError: fewer than 20 rows are finite.
    """
    fits = parameters[np.isfinite(parameters).all(axis=1)]
    if len(fits) < FEWEST_FITS:
        raise ValueError(f"components need at least {FEWEST_FITS} fits, not {len(fits)}")
    mean, scale = fits.mean(axis=0), _robust_scale(fits)
    _, lengths, directions = np.linalg.svd((fits - mean) / scale, full_matrices=False)
    axes = directions[:COMPONENTS]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    variances = lengths**2
    explained = variances[:COMPONENTS] / max(variances.sum(), np.finfo(np.float64).tiny)
    return Components(mean, scale, axes * np.sign(largest), explained)


def _robust_scale(fits: FloatArray) -> FloatArray:
    """Return the scale of each parameter.

    If more than half of the fits share one value, it is the standard deviation; 1 if all of them share it.
    """
    deviation = SIGMA_OVER_MAD * np.median(np.abs(fits - np.median(fits, axis=0)), axis=0)
    scale = np.where(deviation > 0, deviation, fits.std(axis=0))
    return np.where(scale > 0, scale, 1.0)


def project(components: Components, parameters: FloatArray) -> FloatArray:
    """Return the parameters (n, m) as points (n, 2) in the plane; NaN for rows that are not finite."""
    finite = np.isfinite(parameters).all(axis=1)
    points = np.full((len(parameters), COMPONENTS), np.nan)
    points[finite] = (parameters[finite] - components.mean) / components.scale @ components.axes.T
    return points
