"""The beam's position and spread within the self-convergent rectangle of ISO 11146.

ISO 11146-1 and ISO/TR 11146-3: integrate over a rectangle that is centred on the beam, turned with its
principal axes and three beam widths (D4σ) in size; do so again with the beam that was found, until it agrees
with its own rectangle. Without it the noise far from the beam would weigh most.

A rectangle cuts each row of a frame in one run of pixels. Moments are linear, so the background is
subtracted from them instead of from the pixels.
"""

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.background import Background
from shotwatch_physics.feature import FloatArray
from shotwatch_physics.moments import (
    Images,
    Spread,
    over_rows,
    powers,
    principal_moments,
    raw_moments,
    spread_of,
    whole_counts,
)

HALF_SIZE_SIGMAS = 6.0
"""Half of three beam widths of four standard deviations each."""
SMALLEST_HALF_SIZE = 1.0
"""px; light on a single pixel has no width, and its aperture still holds that pixel."""
TOLERANCE = 2e-3
"""Converged: centroid and both widths change by less than this share of the larger width."""
MAX_STEPS = 20
"""Where noise makes pixels at the rim come and go for ever, the last step stands."""

PARALLEL = 1e-12
"""Cosine of a side that is parallel to the rows, to which no column is a limit."""

Runs = tuple[NDArray[np.int32], NDArray[np.int32]]
"""First column, and column after the last, of the run in each row of each frame: (n, h) each."""


def measure_spread(images: Images, background: Background) -> Spread:
    """Spread of each frame's light above background (5, n) within its self-convergent aperture."""
    spread = spread_of(raw_moments(_excess(images, background.faintest_light)))
    moving = np.flatnonzero(np.isfinite(spread[0]))
    for _ in range(MAX_STEPS):
        before = spread[:, moving]
        after = _spread_within(before, images[moving], background.level[moving])
        spread[:, moving] = after
        moving = moving[_moved(before, after)]
        if not moving.size:
            break
    return spread


def _excess(images: Images, threshold: FloatArray) -> Images:
    """What each pixel has above its frame's threshold."""
    floor = whole_counts(threshold)
    return np.maximum(images, floor) - floor


def _moved(before: Spread, after: Spread) -> NDArray[np.bool_]:
    (major, minor, _), (major_before, minor_before, _) = principal_moments(after), principal_moments(before)
    shift = np.abs(after[:2] - before[:2]).max(axis=0)
    growth = 4 * np.abs(np.sqrt([major, minor]) - np.sqrt([major_before, minor_before])).max(axis=0)
    moved: NDArray[np.bool_] = np.maximum(shift, growth) > TOLERANCE * 4 * np.sqrt(major)
    return moved


def _spread_within(aperture: Spread, images: Images, level: FloatArray) -> Spread:
    """Spread of the light above `level` (n,) inside the rectangles that belong to the spread `aperture`."""
    height, width = images.shape[1:]
    first, stop = _runs(aperture, height, width)
    column = np.arange(width, dtype=np.int32)
    inside = (column >= first[:, :, None]) & (column < stop[:, :, None])
    area = _raw_moments_of_area(first, stop, width)
    return spread_of(raw_moments(images * inside) - level[:, None, None] * area)


def _runs(aperture: Spread, height: int, width: int) -> Runs:
    """The pixels of each row whose distance along either axis is within the rectangle's half sizes."""
    x, y = aperture[:2]
    major, minor, angle = principal_moments(aperture)
    row = np.arange(height) - y[:, None]
    along_major = _crossed(row, np.cos(angle), np.sin(angle), _half_size(major))
    along_minor = _crossed(row, -np.sin(angle), np.cos(angle), _half_size(minor))
    left = np.maximum(along_major[0], along_minor[0]) + x[:, None]
    right = np.minimum(along_major[1], along_minor[1]) + x[:, None]
    first = np.ceil(np.clip(left, 0, width)).astype(np.int32)
    stop = np.floor(np.clip(right, -1, width - 1)).astype(np.int32) + 1
    return first, np.maximum(first, stop)


def _half_size(moment: FloatArray) -> FloatArray:
    return np.maximum(HALF_SIZE_SIGMAS * np.sqrt(moment), SMALLEST_HALF_SIZE)


def _crossed(
    row: FloatArray, cosine: FloatArray, sine: FloatArray, half_size: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Between which columns |column cosine + row sine| ≤ half size; all lengths from the centroid."""
    steep = np.where(np.abs(cosine) < PARALLEL, PARALLEL, cosine)[:, None]
    middle = -row * sine[:, None] / steep
    reach = half_size[:, None] / np.abs(steep)
    return middle - reach, middle + reach


def _raw_moments_of_area(first: NDArray[np.int32], stop: NDArray[np.int32], width: int) -> FloatArray:
    """Raw moments (n, 3, 3) of frames that are 1 within their runs and 0 elsewhere."""
    below = np.vstack([np.zeros((1, 3)), np.cumsum(powers(width), axis=0)])
    return over_rows(below[stop] - below[first])
