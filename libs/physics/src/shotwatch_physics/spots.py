"""Hot spots and holes: where a frame is brighter or darker than its surroundings, by how much, how wide.

The contrast of a pixel is the mean of the 3 x 3 px around it minus the mean of its surroundings, the ring of
11 x 11 px without the inner 5 x 5, as a share of the frame's peak (the largest 3 x 3 mean). Both windows end
where the frame ends.

A beam contrasts with itself: it is brighter in the middle than around, a Gaussian of σ px by about 11 / σ²
of its peak, and an edge is darker outside than inside. So a narrow beam has a spot without any defect, and
only the camera's own history says which contrast, place and size are usual.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.feature import IN_LANES, Features, FloatArray
from shotwatch_physics.moments import Images
from shotwatch_physics.noise import Light

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
"""A hole is where the surroundings have this share of the peak: the dark beside the beam is none."""


def measure_spots(counts: Light) -> Features:
    """The largest excess (`spot_*`) and the largest deficit (`hole_*`) of each frame (n, h, w).

    Excess and deficit are contrasts as shares of the peak, x and y their pixel, size the number of pixels
    within 11 x 11 px around that are themselves beyond the surroundings' mean by more than half of the
    contrast. A deficit counts where the surroundings have a fifth of the peak. A single hot pixel has a
    ninth of its own contrast, size 1, and is found within a pixel of its place. Sharpness is the share of
    Σ counts² that lies in structure finer than 3 x 3 px: what is left of it without their mean.

    Args:
        counts: above the dark level, noise included (`counts_above_dark`).

    Returns:
        SPOT_FEATURES (n,). All are NaN where the peak is not positive or no pixel has surroundings (a frame
        of at most 3 x 3 px); `hole_*` are also NaN where no surroundings have a fifth of the peak.

    Raises:
        ValueError: counts are not (n, h, w) finite float32 with at least one pixel.
    """
    require_light(counts)
    columns = np.full((len(SPOT_FEATURES), len(counts)), np.nan)
    _measure_frames(np.ascontiguousarray(counts), columns)
    return dict(zip(SPOT_FEATURES, columns, strict=True))


def running_maximum(images: Images, before: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """Brightest count of each pixel over frames (n, h, w) and those before, whose maximum is `before` (h, w).

    Also called "max of N": it shows hot spots that moved or came once. Without frames it is zero.

    Raises:
        ValueError: `before` is not of the frames' shape.
    """
    brightest: NDArray[np.uint16] = images.max(axis=0, initial=0)
    if before is None:
        return brightest
    if before.shape != brightest.shape:
        raise ValueError(f"a maximum of {before.shape} px does not belong to frames of {brightest.shape} px")
    return np.maximum(brightest, before)


def require_light(frames: Light) -> None:
    """Refuse what are not frames of numbers.

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
    """The contrast, NaN where the surroundings are not above the level. (numba's own `where` is slower.)"""
    for row in range(contrast.shape[0]):
        for column in range(contrast.shape[1]):
            if not ring[row, column] > level:
                contrast[row, column] = np.nan
    return contrast


@njit(cache=True, nogil=True)
def _find_largest(
    contrast: FloatArray, sign: int, frame: FloatArray, ring: FloatArray, found: FloatArray
) -> None:
    """Put the largest contrast, its x, y and size into `found` (4,), or nothing where all are NaN."""
    largest, x, y = -np.inf, -1, -1
    for row in range(contrast.shape[0]):
        for column in range(contrast.shape[1]):
            if contrast[row, column] > largest:
                largest, x, y = contrast[row, column], column, row
    if x >= 0:
        around = frame[max(0, y - OUTER_REACH) : y + OUTER_REACH + 1]
        around = around[:, max(0, x - OUTER_REACH) : x + OUTER_REACH + 1]
        found[0], found[1], found[2] = largest, x, y
        found[3] = (sign * (around - ring[y, x]) > largest / 2).sum()


@njit(cache=True, nogil=True)
def summed_area(frame: FloatArray) -> FloatArray:
    """Sums over all pixels above and to the left, of the frame (h, w) with five dark pixels on each side.

    (h + 11, w + 11): row and column 0 are zero, as nothing lies above or to the left of them.
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
    """Sum of the pixels within `reach` (at most 5) rows and columns of each pixel of the frame: (h, w)."""
    height, width = summed.shape[0] - 2 * OUTER_REACH - 1, summed.shape[1] - 2 * OUTER_REACH - 1
    first, stop = OUTER_REACH - reach, OUTER_REACH + reach + 1
    above, below = summed[first : first + height], summed[stop : stop + height]
    left, right = slice(first, first + width), slice(stop, stop + width)
    return below[:, right] - below[:, left] - above[:, right] + above[:, left]
