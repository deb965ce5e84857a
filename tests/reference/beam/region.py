"""The part of a frame that the camera recorded: some cameras and programs add black borders around it."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tests.reference.beam.moments import Image, Images

BLACK_STEP = 6
"""Counts by which the recorded part is brighter than a black border."""
BEAM_SHARE = 0.5
"""A step to more than this share of the peak, above the unlit level, is a beam's edge, not a border's."""
CLEAR_SIGMAS = 6.0
"""The median counts as the unlit level only if the peak exceeds it by this many standard deviations of the
noise.
"""
ONE_SIGMA_BELOW = 15.87
"""Percentage of a normal distribution that is below its mean - σ."""


class Region(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def recorded_regions(images: Images) -> list[Region]:
    """Return the recorded part of each frame (n, h, w), without the black borders.

    A black border consists of rows, or columns, whose pixels all have the same count, that of the frame's
    corner. In the line next to it, most pixels are brighter by more than six counts, and darker than halfway
    from the unlit level to the frame's brightest pixel. If binning mixed border and frame, this holds for the
    line after that. Frames without noise around a beam and dark rows of a noisy camera have no such border.
    """
    regions = np.empty((len(images), 4), np.int64)
    _find_regions(np.ascontiguousarray(images), regions)
    return [Region(*(int(side) for side in region)) for region in regions]


@njit(cache=True, nogil=True)
def _find_regions(images: Images, regions: NDArray[np.int64]) -> None:
    """Fill the regions (n, 4)."""
    height, width = images.shape[1:]
    for index in range(len(images)):
        frame = images[index]
        uneven = _without_constant_borders(frame)
        if uneven.size == 0:
            regions[index] = 0, height, 0, width
            continue
        edge = _faintest_beam_edge(uneven) if uneven.size < frame.size else 0.0
        top, bottom = _black_rows(frame, edge), height - _black_rows(frame[::-1], edge)
        if top >= bottom:
            top, bottom = 0, height
        columns = frame[top:bottom].T
        left, right = _black_rows(columns, edge), width - _black_rows(columns[::-1], edge)
        if left >= right:
            left, right = 0, width
        regions[index] = top, bottom, left, right


@njit(cache=True, nogil=True)
def _without_constant_borders(frame: Image) -> Image:
    """Return the frame without the rows and columns at its edges in which all pixels have the same count."""
    rows = frame[_constant_rows(frame) : len(frame) - _constant_rows(frame[::-1])]
    columns = rows.T
    return rows[:, _constant_rows(columns) : len(columns) - _constant_rows(columns[::-1])]


@njit(cache=True, nogil=True)
def _constant_rows(frame: Image) -> int:
    """Return how many of the first rows have only pixels with the count of the first pixel."""
    count = 0
    while count < len(frame) and (frame[count] == frame[0, 0]).all():
        count += 1
    return count


@njit(cache=True, nogil=True)
def _faintest_beam_edge(part: Image) -> float:
    """Return the count above which a line next to a black border is lit by a beam.

    The unlit level is the median. If the peak does not clearly exceed the noise about it, the part may be a
    flat-top beam alone, without unlit pixels: the level is then 0.
    """
    low, median = np.percentile(part, np.array([ONE_SIGMA_BELOW, 50.0]))
    peak = float(part.max())
    clear = peak - median > CLEAR_SIGMAS * max(median - low, 1.0)
    level = median if clear else 0.0
    edge: float = level + BEAM_SHARE * (peak - level)
    return edge


@njit(cache=True, nogil=True)
def _black_rows(frame: Image, beam_edge: float) -> int:
    """Return how many of the first rows are black border; a line brighter than `beam_edge` is a beam's."""
    black = frame[0, 0]
    count = _constant_rows(frame)
    if count == 0:
        return 0
    for first in range(count, min(count + 2, len(frame))):
        brighter = 0
        for pixel in frame[first]:
            brighter += black + BLACK_STEP < pixel
        if 2 * brighter > len(frame[first]) and np.median(frame[first]) <= beam_edge:
            return first
    return 0
