"""The compiled functions that measure residuals.

They sum along columns, one sum per column. Such loops run in SIMD lanes without a change in the order of
additions, so the results are the same on every processor, and in batches of every size.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_detector.arrays import Image, Images, Values

REACH = 2
"""Pixels on each side over which a residual is smoothed."""
_TWO, _THREE, _ALL = np.float32(2), np.float32(3), np.float32(1 / 81)
"""Weights of a triangle of 5 pixels, and one over the sum of all weights in two directions."""


@njit(cache=True, nogil=True)
def smooth_all(residuals: Images, smoothed: Images) -> None:
    framed = empty_frame(residuals.shape[1:])
    for index in range(len(residuals)):
        framed[REACH:-REACH] = residuals[index]
        smooth_frame(framed, smoothed[index])


@njit(cache=True, nogil=True)
def measure_all(images: Images, expected: Images, centre: Image, weight: Image, table: Values) -> None:
    """Fill the table (n, 8): integral, Σ deviation², then value, row and column of both extremes."""
    framed, smoothed = empty_frame(images.shape[1:]), np.empty_like(centre)
    for index in range(len(images)):
        table[index, 0] = subtract(images[index], expected[index], framed[REACH:-REACH])
        smooth_frame(framed, smoothed)
        measure_frame(smoothed, centre, weight, table[index, 1:])


@njit(cache=True, nogil=True)
def empty_frame(shape: tuple[int, int]) -> Image:
    """Return a frame of zeros with `REACH` more rows above and below."""
    return np.zeros((shape[0] + 2 * REACH, shape[1]), np.float32)


@njit(cache=True, nogil=True)
def subtract(image: Image, expected: Image, residual: Image) -> float:
    """Fill the residual (h, w), image - expected, and return Σ |residual|."""
    height, width = image.shape
    integral = np.zeros(width, np.float32)
    for row in range(height):
        bright, dark, rest = image[row], expected[row], residual[row]
        for column in range(width):
            difference = bright[column] - dark[column]
            rest[column] = difference
            integral[column] += abs(difference)
    total: float = integral.astype(np.float64).sum()
    return total


@njit(cache=True, nogil=True)
def smooth_frame(framed: Image, smoothed: Image) -> None:
    """Fill the smoothed frame (h, w) from a frame with `REACH` rows of zeros above and below.

    Two means of three pixels are one mean of five with the weights (1 2 3 2 1) / 9. At the first and the last
    pixel of a line the weight in the middle is 2, because the second mean has only two pixels there.
    """
    height, width = smoothed.shape
    padded = np.zeros(width + 2 * REACH, np.float32)
    # Slices with one index in common: a loop with `padded[column + 4]` does not run in SIMD lanes.
    far_left, left, middle, right, far_right = (
        padded[:-4],
        padded[1:-3],
        padded[2:-2],
        padded[3:-1],
        padded[4:],
    )
    for row in range(height):
        far_above, above, here = framed[row], framed[row + 1], framed[row + 2]
        below, far_below, target = framed[row + 3], framed[row + 4], smoothed[row]
        at_border = np.float32((row == 0) + (row == height - 1))
        for column in range(width):
            beside = _TWO * (above[column] + below[column]) + (_THREE - at_border) * here[column]
            middle[column] = far_above[column] + far_below[column] + beside
        for column in range(width):
            beside = _TWO * (left[column] + right[column]) + _THREE * middle[column]
            target[column] = _ALL * (far_left[column] + far_right[column] + beside)
        target[0] -= _ALL * middle[0]
        target[-1] -= _ALL * middle[-1]


@njit(cache=True, nogil=True)
def measure_frame(smoothed: Image, centre: Image, weight: Image, found: Values) -> None:
    """Fill Σ d² and value, row, column of the highest and lowest d = (smoothed - centre) x weight: (7,)."""
    height, width = smoothed.shape
    squares = np.zeros(width, np.float32)
    highest, highest_row = np.full(width, -np.inf, np.float32), np.zeros(width, np.int32)
    lowest, lowest_row = np.full(width, np.inf, np.float32), np.zeros(width, np.int32)
    for row in range(height):
        values, centres, weights, number = smoothed[row], centre[row], weight[row], np.int32(row)
        for column in range(width):
            deviation = (values[column] - centres[column]) * weights[column]
            squares[column] += deviation * deviation
            if deviation > highest[column]:
                highest[column], highest_row[column] = deviation, number
            if deviation < lowest[column]:
                lowest[column], lowest_row[column] = deviation, number
    found[0] = squares.astype(np.float64).sum()
    found[1], found[2], found[3] = _first_highest(highest, highest_row)
    depth, found[5], found[6] = _first_highest(-lowest, lowest_row)
    found[4] = -depth


@njit(cache=True, nogil=True)
def _first_highest(highest: Image, rows: NDArray[np.int32]) -> tuple[float, int, int]:
    """Return value, row and column of the highest of all columns' values: in the first row, then column."""
    best = 0
    for column in range(len(highest)):
        ahead = highest[column] == highest[best] and rows[column] < rows[best]
        if highest[column] > highest[best] or ahead:
            best = column
    return highest[best], rows[best], best
