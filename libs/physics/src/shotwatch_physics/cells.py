"""Square cells of a frame, whose mean and variance represent their pixels."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.moments import Image

BAND_CELL_SHARE = 0.035
"""Side of the cells about a beam, relative to the frame's shorter side (ISO/TR 11146-3: corners of 2 % to 5
%).
"""
CELLS_TOGETHER = 2
"""Side of the cells of the whole frame, relative to that of the cells about a beam."""


class Cells(NamedTuple):
    """The m cells of a frame."""

    places: FloatArray
    """1, x and y of their centres from the frame's centre: (3, m)."""
    sides: FloatArray
    """Width and height (px): (2, m)."""
    means: FloatArray
    """(m,)."""
    variances: FloatArray
    """(m,)."""
    pixels: FloatArray
    """Number of pixels of each cell: (m,)."""
    total: float
    """Σ counts of the frame."""


@njit(cache=True, nogil=True)
def cell_size(height: int, width: int) -> int:
    """Return the side of the cells about a beam (px)."""
    return max(1, round(BAND_CELL_SHARE * min(height, width)))


@njit(cache=True, nogil=True)
def cell_bounds(length: int, size: int) -> NDArray[np.int64]:
    """Return where cells of about `size` px begin along `length`, and where the last one ends."""
    count = max(1, round(length / size))
    bounds: NDArray[np.int64] = np.arange(count + 1) * length // count
    return bounds


@njit(cache=True, nogil=True)
def measure_cells(frame: Image) -> Cells:
    """Return the cells of the whole frame, row by row."""
    height, width = frame.shape
    size = CELLS_TOGETHER * cell_size(height, width)
    rows, columns = cell_bounds(height, size), cell_bounds(width, size)
    across = len(columns) - 1
    count = (len(rows) - 1) * across
    places, sides = np.ones((3, count)), np.empty((2, count))
    means, variances, total = np.empty(count), np.empty(count), 0.0
    for down in range(len(rows) - 1):
        light, squares = _column_sums(frame[rows[down] : rows[down + 1]])
        for right in range(across):
            cell = down * across + right
            first, stop = columns[right], columns[right + 1]
            sides[0, cell], sides[1, cell] = stop - first, rows[down + 1] - rows[down]
            pixels = sides[0, cell] * sides[1, cell]
            of_light, of_squares = 0.0, 0.0
            for column in range(first, stop):
                of_light += light[column]
                of_squares += squares[column]
            total += of_light
            means[cell] = of_light / pixels
            variances[cell] = max(of_squares / pixels - means[cell] ** 2, 0.0)
            places[1, cell] = (first + stop - width) / 2
            places[2, cell] = (rows[down] + rows[down + 1] - height) / 2
    return Cells(places, sides, means, variances, sides[0] * sides[1], total)


@njit(cache=True, nogil=True)
def _column_sums(strip: Image) -> tuple[FloatArray, FloatArray]:
    """Return Σ I and Σ I² of each column (w,): exact, as float64 adds whole numbers up to 2⁵³."""
    light, squares = np.zeros(strip.shape[1]), np.zeros(strip.shape[1])
    for row in range(len(strip)):
        counts = strip[row]
        for column in range(np.uint64(len(counts))):
            count = float(counts[column])
            light[column] += count
            squares[column] += count * count
    return light, squares
