"""Hot spots and holes: where a frame is brighter or darker than its surroundings, by how much, and how wide.

The contrast of a pixel is the mean of the 3 x 3 px around it minus the mean of its surroundings, the ring of
11 x 11 px without the inner 5 x 5, as a share of the frame's peak (the largest 3 x 3 mean). Both windows end
at the edge of the frame.

A beam itself has contrast. It is brighter in the middle than around it: a Gaussian of σ px by about 11 / σ²
of its peak. An edge is darker outside than inside. So a narrow beam has a spot without any defect, and only
the camera's own history shows which contrast, position and size are normal.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.feature import IN_LANES, Features, FloatArray, Light
from shotwatch_physics.moments import Images

SPOT_FEATURES = (
    *("spot_excess", "spot_x", "spot_y", "spot_size"),
    *("hole_deficit", "hole_x", "hole_y", "hole_size"),
    "sharpness",
)

SPOT_REACH = 1
INNER_REACH = 2
OUTER_REACH = 5
"""Pixels from the centre of a window to its side: windows of 3, 5 and 11 px."""
HOLE_LIGHT = 0.2
"""A hole counts only if its surroundings have this share of the peak: the dark area beside the beam is not a
hole.
"""


def measure_spots(counts: Light) -> Features:
    """Measure the largest excess (`spot_*`) and the largest deficit (`hole_*`) of each frame (n, h, w).

    Excess and deficit are contrasts as shares of the peak; x and y are their pixel. Size is the number of
    pixels within 11 x 11 px that deviate from the surroundings' mean in the same direction by more than half
    of the contrast. A deficit counts only if the surroundings have a fifth of the peak. A single hot pixel
    has a ninth of its own contrast and size 1, and is found within a pixel of its position. Sharpness is the
    share of Σ counts² in structure finer than 3 x 3 px, that is, in the counts minus their 3 x 3 mean.

    Args:
        counts: above the dark level, noise included (`counts_above_dark`).

    Returns:
        SPOT_FEATURES (n,). All are NaN if the peak is not positive or no pixel has surroundings (a frame of
            at most 3 x 3 px); `hole_*` are also NaN if no surroundings have a fifth of the peak.

    Raises:
        ValueError: counts are not (n, h, w) finite float32 with at least one pixel.
    """
    require_light(counts)
    columns = np.full((len(SPOT_FEATURES), len(counts)), np.nan)
    _measure_frames(np.ascontiguousarray(counts), columns)
    return dict(zip(SPOT_FEATURES, columns, strict=True))


def running_maximum(images: Images, before: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """Return the brightest count of each pixel over frames (n, h, w) and earlier ones.

    It is also called "max of N", and shows hot spots that moved or appeared only once. Without frames it is
    zero.

    Args:
        images: (n, h, w).
        before: the maximum over earlier frames (h, w).

    Raises:
        ValueError: `before` does not have the frames' shape.
    """
    brightest: NDArray[np.uint16] = images.max(axis=0, initial=0)
    if before is None:
        return brightest
    if before.shape != brightest.shape:
        raise ValueError(f"a maximum of {before.shape} px does not belong to frames of {brightest.shape} px")
    return np.maximum(brightest, before)


def require_light(frames: Light) -> None:
    """Raise an error if the frames are not frames of numbers.

    Raises:
        ValueError: frames are not (n, h, w) finite float32 with at least one pixel.
    """
    if frames.ndim != 3 or frames.dtype != np.float32 or 0 in frames.shape[1:]:
        raise ValueError(f"light must be (n, h, w) float32, not {frames.shape} {frames.dtype}")
    if not (frames.min(initial=0) > -np.inf and frames.max(initial=0) < np.inf):
        raise ValueError("light must be finite numbers")


@njit(cache=True, nogil=True)
def _measure_frames(counts: Light, columns: FloatArray) -> None:
    """Fill the columns (9, n)."""
    height, width = counts.shape[1:]
    ones = summed_area(np.ones((height, width)))
    near_area = box_sums(ones, SPOT_REACH)
    ring_area = box_sums(ones, OUTER_REACH) - box_sums(ones, INNER_REACH)
    for index in range(len(counts)):
        frame = counts[index].astype(np.float64)
        summed = summed_area(frame)
        near = box_sums(summed, SPOT_REACH) / near_area
        ring = (box_sums(summed, OUTER_REACH) - box_sums(summed, INNER_REACH)) / ring_area
        peak = near.max()
        if peak > 0:
            excess = near - ring
            deficit = _where_lit(-excess, ring, HOLE_LIGHT * peak)
            _find_largest(excess, 1, frame, ring, columns[:4, index])
            _find_largest(deficit, -1, frame, ring, columns[4:8, index])
            columns[0, index] /= peak
            columns[4, index] /= peak
            if not np.isnan(columns[0, index]):
                columns[8, index] = _squares_of_difference(frame, near) / (frame * frame).sum()


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _squares_of_difference(frame: FloatArray, smoothed: FloatArray) -> float:
    total = 0.0
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            total += (frame[row, column] - smoothed[row, column]) ** 2
    return total


@njit(cache=True, nogil=True)
def _where_lit(contrast: FloatArray, ring: FloatArray, level: float) -> FloatArray:
    """Return the contrast, NaN where the surroundings are not above the level.

    Numba's own `where` is slower.
    """
    for row in range(contrast.shape[0]):
        for column in range(contrast.shape[1]):
            if not ring[row, column] > level:
                contrast[row, column] = np.nan
    return contrast


@njit(cache=True, nogil=True)
def _find_largest(
    contrast: FloatArray, polarity: int, frame: FloatArray, ring: FloatArray, found: FloatArray
) -> None:
    """Write the largest contrast, its x, y and size into `found` (4,), or nothing if all are NaN."""
    largest, x, y = -np.inf, -1, -1
    for row in range(contrast.shape[0]):
        for column in range(contrast.shape[1]):
            if contrast[row, column] > largest:
                largest, x, y = contrast[row, column], column, row
    if x >= 0:
        around = frame[max(0, y - OUTER_REACH) : y + OUTER_REACH + 1]
        around = around[:, max(0, x - OUTER_REACH) : x + OUTER_REACH + 1]
        found[0], found[1], found[2] = largest, x, y
        found[3] = (polarity * (around - ring[y, x]) > largest / 2).sum()


@njit(cache=True, nogil=True)
def summed_area(frame: FloatArray) -> FloatArray:
    """Return the sums over all pixels above and to the left, with five dark pixels around the frame (h, w).

    The shape is (h + 11, w + 11): row and column 0 are zero, because nothing lies above or to the left of
    them.
    """
    height, width = frame.shape
    summed = np.zeros((height + 2 * OUTER_REACH + 1, width + 2 * OUTER_REACH + 1))
    for row in range(height):
        above, below = summed[row + OUTER_REACH], summed[row + OUTER_REACH + 1]
        in_row = 0.0
        for column in range(width):
            in_row += frame[row, column]
            below[column + OUTER_REACH + 1] = above[column + OUTER_REACH + 1] + in_row
        below[width + OUTER_REACH + 1 :] = below[width + OUTER_REACH]
    summed[height + OUTER_REACH + 1 :] = summed[height + OUTER_REACH]
    return summed


@njit(cache=True, nogil=True)
def box_sums(summed: FloatArray, reach: int) -> FloatArray:
    """Return the sum within `reach` (at most 5) rows and columns of each pixel of the frame: (h, w)."""
    height, width = summed.shape[0] - 2 * OUTER_REACH - 1, summed.shape[1] - 2 * OUTER_REACH - 1
    first, stop = OUTER_REACH - reach, OUTER_REACH + reach + 1
    above, below = summed[first : first + height], summed[stop : stop + height]
    left, right = slice(first, first + width), slice(stop, stop + width)
    return below[:, right] - below[:, left] - above[:, right] + above[:, left]
