"""Hot pixels: single pixels that differ from all their neighbours, and so do not belong to a beam."""

from numba import njit

from tests.reference.beam.moments import Counts, Image

HOT_RANGES = 6
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
    margin = int(HOT_SIGMAS * noise)
    hot = 0
    if height * width == 1:
        return hot
    for row in range(height):
        # In most rows only the first and the last pixel, which have fewer neighbours, need the full check.
        inside = 0 < row < height - 1
        closely = not inside or _may_be_hot(frame[row - 1], frame[row], frame[row + 1], margin)
        for column in range(0, width, 1 if closely else max(width - 1, 1)):
            darkest, brightest, mean = _neighbours(frame, row, column)
            if _is_hot(int(frame[row, column]), darkest, brightest, margin):
                cleaned[row, column] = round(mean)
                hot += 1
    return hot


@njit(cache=True, nogil=True)
def _is_hot(count: int, darkest: int, brightest: int, margin: int) -> bool:
    return (count > brightest + margin) & (count > darkest + HOT_RANGES * (brightest - darkest))


@njit(cache=True, nogil=True)
def _may_be_hot(above: Counts, here: Counts, below: Counts, margin: int) -> bool:
    """Return whether an inner pixel of the row `here` is hot compared with four of its neighbours.

    The other four neighbours can only raise the limit. The code has no branches, because every pixel passes
    here.
    """
    found = False
    for column in range(1, len(here) - 1):
        left, right = int(here[column - 1]), int(here[column + 1])
        up, down = int(above[column]), int(below[column])
        darkest, brightest = min(min(left, right), min(up, down)), max(max(left, right), max(up, down))
        found |= _is_hot(int(here[column]), darkest, brightest, margin)
    return found


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
