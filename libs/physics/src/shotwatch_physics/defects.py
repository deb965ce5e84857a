"""Hot pixels: single pixels that differ from all their neighbours, and so are no beam."""

import numpy as np
from numba import njit

from shotwatch_physics.feature import FloatArray
from shotwatch_physics.moments import Counts, Image, Images

HOT_RANGES = 6
"""A hot pixel is above its darkest neighbour by more than this many ranges of its neighbours."""
HOT_COUNTS = 6
"""A hot pixel is above its brightest neighbour by more than this many counts."""


def replace_hot_pixels(images: Images) -> tuple[Images, FloatArray]:
    """Return frames (n, h, w) whose hot pixels have the mean of their neighbours, and how many each had (n,).

    A pixel is hot when it is more than six counts above the brightest of its up to eight neighbours, and
    above the darkest by more than six times the range of their counts. A round Gaussian beam has such a pixel
    from a standard deviation of 0.55 px down. Two hot pixels side by side are not found.
    """
    cleaned = np.array(images, order="C")
    counts = np.zeros(len(images))
    if images.shape[1] * images.shape[2] > 1:
        _replace(np.ascontiguousarray(images), cleaned, counts)
    return cleaned, counts


@njit(cache=True, nogil=True)
def _replace(images: Images, cleaned: Images, counts: FloatArray) -> None:
    height, width = images.shape[1:]
    last = max(width - 1, 1)
    for index in range(len(images)):
        frame = images[index]
        for row in range(height):
            inside = 0 < row < height - 1
            # Most rows are done with their first and last pixel: those in between have few neighbours to pass.
            if inside and not _may_be_hot(frame[row - 1], frame[row], frame[row + 1]):
                step = last
            else:
                step = 1
            for column in range(0, width, step):
                darkest, brightest, mean = _neighbours(frame, row, column)
                if _is_hot(np.int64(frame[row, column]), darkest, brightest):
                    cleaned[index, row, column] = round(mean)
                    counts[index] += 1


@njit(cache=True, nogil=True)
def _is_hot(count: int, darkest: int, brightest: int) -> bool:
    return (count > brightest + HOT_COUNTS) & (count > darkest + HOT_RANGES * (brightest - darkest))


@njit(cache=True, nogil=True)
def _may_be_hot(above: Counts, here: Counts, below: Counts) -> bool:
    """Return whether an inner pixel of the row `here` is hot beside four of its neighbours.

    The other four only raise what a pixel has to exceed. Without branches, as every pixel passes here.
    """
    found = False
    for column in range(1, len(here) - 1):
        left, right = np.int32(here[column - 1]), np.int32(here[column + 1])
        up, down = np.int32(above[column]), np.int32(below[column])
        darkest, brightest = min(min(left, right), min(up, down)), max(max(left, right), max(up, down))
        found |= _is_hot(np.int32(here[column]), darkest, brightest)
    return found


@njit(cache=True, nogil=True)
def _neighbours(frame: Image, row: int, column: int) -> tuple[int, int, float]:
    """Return the darkest, the brightest and the mean of a pixel's neighbours."""
    darkest, brightest, total, number = 65535, 0, 0, 0
    for y in range(max(row - 1, 0), min(row + 2, frame.shape[0])):
        for x in range(max(column - 1, 0), min(column + 2, frame.shape[1])):
            if y != row or x != column:
                count = np.int64(frame[y, x])
                darkest, brightest = min(darkest, count), max(brightest, count)
                total += count
                number += 1
    return darkest, brightest, total / number
