"""Intensity moments of many frames at once, and the position and spread of light that follow from them.

Counts and pixel coordinates are whole numbers, and float64 adds those exactly up to 2⁵³ (reached by 65,535
counts on 500 x 500 pixels). So a frame's moments are the same to the last bit whatever is computed beside it.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray, ratio

Images = NDArray[np.uint16]
"""Frames (n, h, w) in counts."""
Spread = FloatArray
"""Where light is and how it spreads: (5, n), rows x, y (centroid, px), xx, yy, xy (central moments, px²).

x grows to the right and y down, pixel centres are whole numbers. A column is NaN for a frame without more
light than background, or with a negative second moment in some direction: there is no beam to describe.
"""

ROUNDING = 1e-9
"""Second moments closer to zero than this (px²) are zero."""


def whole_counts(threshold: FloatArray) -> Images:
    """Per-frame thresholds (n,) as counts (n, 1, 1): a pixel is above the one when it is above the other."""
    return np.clip(np.floor(threshold), 0, np.iinfo(np.uint16).max).astype(np.uint16)[:, None, None]


def raw_moments(images: Images) -> FloatArray:
    """Σ yʲ xᵏ I over each frame: (n, 3, 3), row j, column k; meaningful for j + k ≤ 2."""
    count, height, width = images.shape
    rows = images.reshape(-1, width).astype(np.float64) @ powers(width)
    return over_rows(rows.reshape(count, height, 3))


def over_rows(rows: FloatArray) -> FloatArray:
    """Σ yʲ over the rows of each frame: from (n, h, 3) to (n, 3, 3)."""
    return powers(rows.shape[1]).T @ rows


@cache
def powers(length: int) -> FloatArray:
    """The powers 0, 1 and 2 of pixel coordinates: (length, 3)."""
    return np.arange(length, dtype=np.float64)[:, None] ** np.arange(3)


def spread_of(moments: FloatArray) -> Spread:
    """Centroids and central second moments from raw moments (n, 3, 3), ISO 11146-1."""
    light = moments[:, 0, 0]
    x, y = ratio(moments[:, 0, 1], light), ratio(moments[:, 1, 0], light)
    xx = ratio(moments[:, 0, 2], light) - x * x
    yy = ratio(moments[:, 2, 0], light) - y * y
    xy = ratio(moments[:, 1, 1], light) - x * y
    spread = np.stack([x, y, xx, yy, xy])
    _, minor, _ = principal_moments(spread)
    return np.where(minor >= 0, spread, np.nan)


def principal_moments(spread: Spread) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Second moments along the major and minor axes (px²), and the major axis' angle from x towards y (rad).

    The eigenvalues and the first eigenvector of ((xx, xy), (xy, yy)), ISO 11146-1.
    """
    _, _, xx, yy, xy = spread
    mean, half_difference = (xx + yy) / 2, (xx - yy) / 2
    radius = np.hypot(half_difference, xy)
    angle = np.arctan2(xy, half_difference) / 2
    return _without_rounding(mean + radius), _without_rounding(mean - radius), angle


def _without_rounding(moments: FloatArray) -> FloatArray:
    return np.where(np.abs(moments) < ROUNDING, 0.0, moments)
