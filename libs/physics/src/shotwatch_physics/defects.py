"""Hot pixels: single pixels that differ from all their neighbours, and so do not belong to a beam."""

import numpy as np
from numba import njit

from shotwatch_physics.moments import Image

HOT_RANGES = np.float32(6)
"""A hot pixel exceeds its darkest neighbour by more than this many ranges of its neighbours."""
HOT_SIGMAS = 8.0
"""A hot pixel exceeds its brightest neighbour by more than this many standard deviations of the noise."""


@njit(cache=True, nogil=True)
def replace_hot_pixels(frame: Image, noise: float, cleaned: Image) -> int:
    """Replace hot pixels by the mean of their neighbours, and return how many there are.

    A pixel is hot if it passes two tests. It is brighter than each of its up to eight neighbours by more than
    eight standard deviations of the `noise` (counts). It exceeds the darkest of them by more than six times
    the range of their counts. A round Gaussian beam with a standard deviation of 0.55 px or less has such a
    pixel too. Two adjacent hot pixels are not found.

    Args:
        frame: (h, w).
        noise: standard deviation of unlit pixels, counts.
        cleaned: (h, w), a copy of the frame that is changed.
    """
    height, width = frame.shape
    margin = np.float32(np.floor(HOT_SIGMAS * noise))
    hot = 0
    if height * width == 1:
        return hot
    for row in range(height):
        # The neighbour of a row at the frame's edge stands for the one that it lacks.
        above = row - 1 if row > 0 else min(1, height - 1)
        below = row + 1 if row < height - 1 else max(height - 2, 0)
        closely = height == 1 or _may_be_hot(
            frame, np.uint64(above), np.uint64(row), np.uint64(below), margin
        )
        # In most rows only the first and the last pixel remain, and these are seldom brighter than one above.
        for column in range(0, width, 1 if closely else max(width - 1, 1)):
            count = np.float32(frame[row, column])
            if closely or count > np.float32(frame[above, column]) + margin:
                darkest, brightest, mean = _neighbours(frame, row, column)
                if _is_hot(count, np.float32(darkest), np.float32(brightest), margin):
                    cleaned[row, column] = round(mean)
                    hot += 1
    return hot


@njit(cache=True, nogil=True)
def _is_hot(count: np.float32, darkest: np.float32, brightest: np.float32, margin: np.float32) -> bool:
    """Return whether a count is hot: float32 is exact here, because all numbers are whole and below 2²⁴."""
    return bool((count > brightest + margin) & (count > darkest + HOT_RANGES * (brightest - darkest)))


@njit(cache=True, nogil=True)
def _may_be_hot(frame: Image, above: np.uint64, row: np.uint64, below: np.uint64, margin: np.float32) -> bool:
    """Return whether an inner pixel of a row is hot compared with four of its neighbours.

    The other four neighbours can only raise the limit. Every pixel passes here, so the loop must run in SIMD
    lanes: it has no branches, and its indices are unsigned. A view of a row would take as long as its pixels.
    """
    one, hot = np.uint64(1), 0
    for column in range(one, np.uint64(frame.shape[1] - 1)):
        left, right = np.float32(frame[row, column - one]), np.float32(frame[row, column + one])
        up, down = np.float32(frame[above, column]), np.float32(frame[below, column])
        darkest, brightest = min(min(left, right), min(up, down)), max(max(left, right), max(up, down))
        hot += _is_hot(np.float32(frame[row, column]), darkest, brightest, margin)
    return hot > 0


@njit(cache=True, nogil=True)
def _neighbours(frame: Image, row: int, column: int) -> tuple[int, int, float]:
    """Return the darkest, the brightest and the mean of a pixel's neighbours."""
    darkest, brightest, total, number = 65535, 0, 0, 0
    for y in range(max(row - 1, 0), min(row + 2, frame.shape[0])):
        for x in range(max(column - 1, 0), min(column + 2, frame.shape[1])):
            if y != row or x != column:
                count = int(frame[y, x])
                darkest, brightest = min(darkest, count), max(brightest, count)
                total += count
                number += 1
    return darkest, brightest, total / number
