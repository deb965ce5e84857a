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

from shotwatch_physics.feature import IN_LANES, FloatArray
from shotwatch_physics.moments import Images
from shotwatch_physics.padded import (
    OUTER_REACH,
    Padded,
    fill_near,
    fill_ring,
    first_in_frame,
    in_frame,
    largest,
)

SPOT_FEATURES = (
    *("spot_excess", "spot_x", "spot_y", "spot_size"),
    *("hole_deficit", "hole_x", "hole_y", "hole_size"),
    "sharpness",
)

HOLE_LIGHT = 0.2
"""A hole counts only if its surroundings have this share of the peak: the dark area beside the beam is not a
hole.
"""


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


@njit(cache=True, nogil=True)
def spots_in(padded: Padded, found: FloatArray) -> None:
    """Measure the largest excess (`spot_*`) and the largest deficit (`hole_*`) of a frame's counts.

    Excess and deficit are contrasts as shares of the peak; x and y are their pixel. Size is the number of
    pixels within 11 x 11 px that deviate from the surroundings' mean in the same direction by more than half
    of the contrast. A deficit counts only if the surroundings have a fifth of the peak. A single hot pixel
    has a ninth of its own contrast and size 1, and is found within a pixel of its position. Sharpness is the
    share of Σ counts² in structure finer than 3 x 3 px, that is, in the counts minus their 3 x 3 mean.

    Args:
        padded: with the counts above the dark level, noise included.
        found: gets SPOT_FEATURES (9,), and is NaN before. All stay NaN if the peak is not positive or no
            pixel has surroundings (a frame of at most 3 x 3 px); `hole_*` also if no surroundings have a
            fifth of the peak.
    """
    fill_near(padded, padded.counts, 0, padded.height)
    peak = largest(padded, padded.near, 0, padded.height)
    if peak > 0:
        fill_ring(padded, padded.counts)
        excess, deficit = _largest_contrasts(padded, HOLE_LIGHT * peak)
        _describe(padded, 1, *excess, found[:4])
        _describe(padded, -1, *deficit, found[4:8])
        found[0] /= peak
        found[4] /= peak
        if not np.isnan(found[0]):
            found[8] = _sharpness(padded.counts, padded.near)


@njit(cache=True, nogil=True)
def _describe(padded: Padded, polarity: int, contrast: float, x: int, y: int, found: FloatArray) -> None:
    """Write the largest contrast, its x, y and size into `found` (4,); write nothing if there is none."""
    if contrast > -np.inf:
        counts, ring = in_frame(padded, padded.counts), in_frame(padded, padded.ring)
        around = counts[max(0, y - OUTER_REACH) : y + OUTER_REACH + 1]
        around = around[:, max(0, x - OUTER_REACH) : x + OUTER_REACH + 1]
        found[0], found[1], found[2] = contrast, x, y
        found[3] = (polarity * (around - ring[y, x]) > contrast / 2).sum()


@njit(cache=True, nogil=True)
def _largest_contrasts(
    padded: Padded, faintest: float
) -> tuple[tuple[float, int, int], tuple[float, int, int]]:
    """Return the largest excess and the largest deficit, each with its x and y; -inf if there is none.

    A deficit counts only where the surroundings are brighter than `faintest`. Each column has its own
    extremes, so that the loop along a row runs in SIMD lanes.
    """
    near, ring, width = padded.near, padded.ring, padded.width
    excess, excess_row = np.full(width, -np.inf), np.zeros(width)
    deficit, deficit_row = np.full(width, -np.inf), np.zeros(width)
    for row in range(padded.height):
        first = first_in_frame(padded, row)
        for column in range(np.uint64(width)):
            around = ring[first + column]
            contrast = near[first + column] - around
            higher = contrast > excess[column]
            excess[column] = contrast if higher else excess[column]
            excess_row[column] = row if higher else excess_row[column]
            lower = (-contrast > deficit[column]) & (around > faintest)
            deficit[column] = -contrast if lower else deficit[column]
            deficit_row[column] = row if lower else deficit_row[column]
    return _first_largest(excess, excess_row), _first_largest(deficit, deficit_row)


@njit(cache=True, nogil=True)
def _first_largest(best: FloatArray, best_row: FloatArray) -> tuple[float, int, int]:
    """Return the largest of all columns' values (w,), its x and its y: of several, the first by row."""
    x = 0
    for column in range(len(best)):
        higher = best[column] == best[x] and best_row[column] < best_row[x]
        if best[column] > best[x] or higher:
            x = column
    return best[x], x, int(best_row[x])


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _sharpness(counts: FloatArray, near: FloatArray) -> float:
    """Return Σ (counts - near)² / Σ counts² of pixels (m,)."""
    fine, whole = 0.0, 0.0
    for place in range(np.uint64(len(counts))):
        fine += (counts[place] - near[place]) ** 2
        whole += counts[place] ** 2
    return float(fine / whole)
