"""The residual of an image after its reconstruction is subtracted, and where it is most anomalous.

The compiled functions sum along columns, one sum per column. Such loops run in SIMD lanes without a change in
the order of additions, so the results are the same on every processor, and in batches of every size.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Image, Images, Values

SMALLEST_SIGMA = 0.002
"""Share of the reference's peak. Smaller standard deviations of a pixel's residual are set to this value."""
_REACH = 2
"""Pixels on each side over which a residual is smoothed."""
_TWO, _THREE, _ALL = np.float32(2), np.float32(3), np.float32(1 / 81)
"""Weights of a triangle of 5 pixels, and one over the sum of all weights in two directions."""


@dataclass(frozen=True, slots=True, eq=False)
class ResidualMap:
    """Centre and spread of the smoothed residual at each pixel of a camera: (h, w) each."""

    centre: Image
    sigma: Image


@dataclass(frozen=True, slots=True, eq=False)
class Extreme:
    """The pixel of each of n frames where the smoothed residual deviates most to one side: (n,) each.

    Of several such pixels it is the first one, by row, then by column.
    """

    deviation: Values
    """In standard deviations of that pixel."""
    size: Values
    """Deviation in shares of the reference's peak."""
    x: Values
    y: Values


@dataclass(frozen=True, slots=True, eq=False)
class Deviations:
    """The residuals of n frames, and their deviations from the camera's normal ones: (n,) each."""

    integral: Values
    """Σ |residual| over all pixels, in pixels of full brightness."""
    rms: Values
    """Root mean square of all deviations, in standard deviations."""
    highest: Extreme
    lowest: Extreme


def smooth(residuals: Images) -> Images:
    """Return residuals (n, h, w) averaged twice over the 3 x 3 neighbourhood, with 0 outside the frame.

    This weighs them with a triangle of 5 pixels, the width of the smallest spot that matters.
    """
    smoothed = np.empty(residuals.shape, np.float32)
    _smooth_all(np.ascontiguousarray(residuals, np.float32), smoothed)
    return smoothed


def map_residuals(smoothed: Images) -> ResidualMap:
    """Return median and robust spread, per pixel, of smoothed residuals (n, h, w) of normal frames."""
    ranked = np.sort(smoothed, axis=0)
    low, median, high = (ranked[round(share * (len(ranked) - 1))] for share in (0.1587, 0.5, 0.8413))
    return ResidualMap(median, np.maximum((high - low) / 2, np.float32(SMALLEST_SIGMA)))


def measure_residuals(
    images: Images, reconstruction: Images, brightness: Values, residual_map: ResidualMap
) -> Features:
    """Return the scores of images (n, h, w) from their network's reconstruction, as named values (n,).

    `residual` is the report's metric, the integral of |input - reconstruction| (ELI-NP RST-2.3), here in
    pixels of full brightness. `hot_spot` is the largest local excess minus the largest local deficit, both in
    standard deviations of that camera's pixel: a spot has one sign, while a beam that moved or changed its
    size leaves as much deficit as excess. `dark_spot` is the reverse. `…_x` and `…_y` are the position (px),
    and `…_excess` is the size (share of the reference's peak, after smoothing).

    Frames that are fainter than the reference are noisier after normalisation, so their scores are scaled
    down by `brightness` (n,).
    """
    found = measure_deviations(images, reconstruction, residual_map)
    faintness = np.minimum(brightness, 1.0)
    outweighs = (found.highest.deviation + found.lowest.deviation) * faintness
    return {
        "residual": found.integral * faintness,
        "hot_spot": outweighs,
        "hot_spot_excess": found.highest.size,
        "hot_spot_x": found.highest.x,
        "hot_spot_y": found.highest.y,
        "dark_spot": -outweighs,
        "dark_spot_excess": -found.lowest.size,
        "dark_spot_x": found.lowest.x,
        "dark_spot_y": found.lowest.y,
    }


def measure_deviations(images: Images, expected: Images, residual_map: ResidualMap) -> Deviations:
    """Measure how images differ from the expected ones, (n, h, w) each.

    Raises:
        ValueError: the shapes of images, expected images and map differ.
    """
    shape = (len(images), *residual_map.centre.shape)
    if not images.shape == expected.shape == shape:
        raise ValueError(f"images {images.shape} and expected {expected.shape} should be {shape}")
    table = np.empty((len(images), 8))
    _measure_all(
        np.ascontiguousarray(images),
        np.ascontiguousarray(expected),
        residual_map.centre,
        np.reciprocal(residual_map.sigma),
        table,
    )
    integral, squares, highest, hot_y, hot_x, lowest, dark_y, dark_x = table.T
    return Deviations(
        integral,
        np.sqrt(squares / residual_map.centre.size),
        _extreme(highest, hot_y, hot_x, residual_map),
        _extreme(lowest, dark_y, dark_x, residual_map),
    )


def _extreme(deviation: Values, y: Values, x: Values, residual_map: ResidualMap) -> Extreme:
    sigma = residual_map.sigma[y.astype(np.intp), x.astype(np.intp)]
    return Extreme(deviation, deviation * sigma, x, y)


@njit(cache=True, nogil=True)
def _smooth_all(residuals: Images, smoothed: Images) -> None:
    framed = _empty_frame(residuals.shape[1:])
    for index in range(len(residuals)):
        framed[_REACH:-_REACH] = residuals[index]
        _smooth(framed, smoothed[index])


@njit(cache=True, nogil=True)
def _measure_all(images: Images, expected: Images, centre: Image, weight: Image, table: Values) -> None:
    """Fill the table (n, 8): integral, Σ deviation², then value, row and column of both extremes."""
    framed, smoothed = _empty_frame(images.shape[1:]), np.empty_like(centre)
    for index in range(len(images)):
        table[index, 0] = _subtract(images[index], expected[index], framed[_REACH:-_REACH])
        _smooth(framed, smoothed)
        _measure(smoothed, centre, weight, table[index, 1:])


@njit(cache=True, nogil=True)
def _empty_frame(shape: tuple[int, int]) -> Image:
    """Return a frame of zeros with `_REACH` more rows above and below."""
    return np.zeros((shape[0] + 2 * _REACH, shape[1]), np.float32)


@njit(cache=True, nogil=True)
def _subtract(image: Image, expected: Image, residual: Image) -> float:
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
def _smooth(framed: Image, smoothed: Image) -> None:
    """Fill the smoothed frame (h, w) from a frame with `_REACH` rows of zeros above and below.

    Two means of three pixels are one mean of five with the weights (1 2 3 2 1) / 9. At the first and the last
    pixel of a line the weight in the middle is 2, because the second mean has only two pixels there.
    """
    height, width = smoothed.shape
    padded = np.zeros(width + 2 * _REACH, np.float32)
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
def _measure(smoothed: Image, centre: Image, weight: Image, found: Values) -> None:
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
