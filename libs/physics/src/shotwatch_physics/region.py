"""The part of a frame that the camera recorded: some cameras and programs put black borders around it."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.moments import Image, Images

BLACK_STEP = 6
"""Counts by which the recorded part is brighter than a black border."""
BEAM_SHARE = 0.5
"""A step to more than this share of the brightest pixel is the edge of a beam, not of the recorded part."""


class Region(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def recorded_regions(images: Images) -> list[Region]:
    """Return the recorded part of each frame (n, h, w), without the black borders.

    A black border is made of rows, or columns, whose pixels all have the same count, that of the frame's
    corner. Most of the pixels of the line next to it, or of the one after that where binning mixed the two,
    are brighter by more than six counts and darker than half of the frame's brightest pixel. Frames without
    noise around a beam and dark rows of a noisy camera have no such border.
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
        top, bottom = _black_rows(frame), height - _black_rows(frame[::-1])
        if top >= bottom:
            top, bottom = 0, height
        columns = frame[top:bottom].T
        left, right = _black_rows(columns), width - _black_rows(columns[::-1])
        if left >= right:
            left, right = 0, width
        regions[index] = top, bottom, left, right


@njit(cache=True, nogil=True)
def _black_rows(frame: Image) -> int:
    """Return how many of the first rows are black border."""
    black = frame[0, 0]
    count = 0
    while count < len(frame) and (frame[count] == black).all():
        count += 1
    if count == 0:
        return 0
    for first in range(count, min(count + 2, len(frame))):
        brighter = 0
        for pixel in frame[first]:
            brighter += black + BLACK_STEP < pixel
        if 2 * brighter > len(frame[first]) and np.median(frame[first]) <= BEAM_SHARE * frame.max():
            return first
    return 0
