"""A frame between dark pixels as one row of numbers: all neighbours of a pixel are at fixed distances.

The frame (h, w) has six dark rows above it and five below, and five dark columns on each side. A neighbour on
the right is 1 further in the row of numbers, one below is `stride` further. A loop over all pixels is then
one loop without borders, which runs in SIMD lanes. Sums over windows of 3 x 3, 5 x 5 and 11 x 11 px are sums
over rows first, and along the row of these sums.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from shotwatch_physics.feature import FloatArray, Light
from shotwatch_physics.moments import Image

NEAR_REACH = 1
INNER_REACH = 2
OUTER_REACH = 5
"""Pixels from the centre of a window to its side: windows of 3, 5 and 11 px."""
ROWS_ABOVE = OUTER_REACH + 1


class Padded(NamedTuple):
    """Frames of one size between dark pixels (m,): what holds for all of them, and memory for one at a time.

    The memory is reused, because to get it takes longer than to fill it.
    """

    height: int
    width: int
    x: FloatArray
    """Column of each pixel in the frame (m,)."""
    y: FloatArray
    """Row of each pixel in the frame (m,)."""
    near_pixels: FloatArray
    """Number of pixels of the frame within 3 x 3 px (m,); infinite for dark pixels: their mean is 0."""
    ring_pixels: FloatArray
    """Number of pixels of the frame within 11 x 11 px and not within 5 x 5 (m,); NaN for dark pixels."""
    counts: FloatArray
    """Counts above dark, 0 for dark pixels (m,)."""
    light: FloatArray
    """Counts that cannot be noise, 0 for others (m,)."""
    three: FloatArray
    """Sum over three rows: that of each pixel, the one above and the one below (m,)."""
    near: FloatArray
    """Mean within 3 x 3 px (m,)."""
    ring: FloatArray
    """Mean within 11 x 11 px and not within 5 x 5 (m,)."""


@njit(cache=True, nogil=True)
def make_padded(height: int, width: int) -> Padded:
    """Return the memory for frames (height, width)."""
    shape = (ROWS_ABOVE + height + OUTER_REACH, OUTER_REACH + width + OUTER_REACH)
    x, y = np.zeros(shape), np.zeros(shape)
    near_pixels, ring_pixels = np.full(shape, np.inf), np.full(shape, np.nan)
    for row in range(height):
        for column in range(width):
            place = ROWS_ABOVE + row, OUTER_REACH + column
            x[place], y[place] = column, row
            near_pixels[place] = _pixels_within(NEAR_REACH, row, column, height, width)
            inner = _pixels_within(INNER_REACH, row, column, height, width)
            outer = _pixels_within(OUTER_REACH, row, column, height, width)
            if outer > inner:
                ring_pixels[place] = outer - inner
    pixels = x.size
    return Padded(
        height,
        width,
        x.ravel(),
        y.ravel(),
        near_pixels.ravel(),
        ring_pixels.ravel(),
        counts=np.zeros(pixels),
        light=np.zeros(pixels),
        three=np.zeros(pixels),
        near=np.zeros(pixels),
        ring=np.zeros(pixels),
    )


@njit(cache=True, nogil=True)
def _pixels_within(reach: int, row: int, column: int, height: int, width: int) -> int:
    rows = min(row + reach, height - 1) - max(row - reach, 0) + 1
    columns = min(column + reach, width - 1) - max(column - reach, 0) + 1
    return rows * columns


@njit(cache=True, nogil=True)
def stride_of(padded: Padded) -> np.uint64:
    """Return the number of pixels of a row, with the dark ones."""
    return np.uint64(padded.width + 2 * OUTER_REACH)


@njit(cache=True, nogil=True)
def first_of_row(padded: Padded, row: int) -> np.uint64:
    """Return the place of the first dark pixel of a row of the frame."""
    return np.uint64(ROWS_ABOVE + row) * stride_of(padded)


@njit(cache=True, nogil=True)
def first_in_frame(padded: Padded, row: int) -> np.uint64:
    """Return the place of the first pixel of a row of the frame."""
    return first_of_row(padded, row) + np.uint64(OUTER_REACH)


@njit(cache=True, nogil=True)
def in_frame(padded: Padded, values: FloatArray) -> FloatArray:
    """Return the values (m,) of the frame's own pixels: (h, w)."""
    rows = values.reshape(-1, padded.width + 2 * OUTER_REACH)
    return rows[ROWS_ABOVE : ROWS_ABOVE + padded.height, OUTER_REACH : OUTER_REACH + padded.width]


@njit(cache=True, nogil=True)
def fill_plane(level: float, tilt: FloatArray, plane: Light) -> None:
    """Fill a plane (h, w) with `Background.plane` of one frame, equal to the last bit."""
    height, width = plane.shape
    across, down = np.float32(tilt[0]), np.float32(tilt[1])
    columns = across * (np.arange(width).astype(np.float32) - np.float32((width - 1) / 2))
    for row in range(height):
        at_row = np.float32(level) + down * (np.float32(row) - np.float32((height - 1) / 2))
        of_row = plane[row]
        for column in range(width):
            of_row[column] = at_row + columns[column]


@njit(cache=True, nogil=True)
def fill_counts(padded: Padded, frame: Image | Light, dark: Light) -> float:
    """Compute the counts of a frame (h, w) above each pixel's dark level (h, w); return the largest."""
    brightest = np.full(padded.width, -np.inf)
    for row in range(padded.height):
        first = first_in_frame(padded, row)
        of_frame, of_dark = frame[row], dark[row]
        for column in range(np.uint64(padded.width)):
            above = np.float64(np.float32(of_frame[column]) - of_dark[column])  # in float32
            padded.counts[first + column] = above
            brightest[column] = above if above > brightest[column] else brightest[column]
    return float(brightest.max())


@njit(cache=True, nogil=True)
def fill_light(padded: Padded, margin: Light) -> float:
    """Compute the light: the counts above the margin of their pixel (h, w), else 0; return the largest."""
    counts, light, brightest = padded.counts, padded.light, np.zeros(padded.width)
    for row in range(padded.height):
        first = first_in_frame(padded, row)
        of_row = margin[row]
        for column in range(np.uint64(padded.width)):
            above = counts[first + column]
            lit = above if above > of_row[column] else 0.0
            light[first + column] = lit
            brightest[column] = lit if lit > brightest[column] else brightest[column]
    return float(brightest.max())


@njit(cache=True, nogil=True)
def lit_rows(padded: Padded) -> tuple[int, int]:
    """Return the first row with light, and the one after the last; 0 and 0 without light."""
    top, bottom = 0, padded.height
    while top < bottom and not _is_lit(padded, top):
        top += 1
    while top < bottom and not _is_lit(padded, bottom - 1):
        bottom -= 1
    return (top, bottom) if top < bottom else (0, 0)


@njit(cache=True, nogil=True)
def _is_lit(padded: Padded, row: int) -> bool:
    first = first_in_frame(padded, row)
    lit = 0
    for column in range(np.uint64(padded.width)):
        lit += padded.light[first + column] > 0
    return lit > 0


@njit(cache=True, nogil=True)
def lit_columns(padded: Padded, top: int, bottom: int) -> tuple[int, int]:
    """Return the first column with light in the rows from `top` to `bottom`, and the one after the last."""
    brightest = _largest_of_columns(padded, padded.light, top, bottom)
    left, right = 0, padded.width
    while left < right and not brightest[left] > 0:
        left += 1
    while left < right and not brightest[right - 1] > 0:
        right -= 1
    return left, right


@njit(cache=True, nogil=True)
def fill_near(padded: Padded, values: FloatArray, top: int, bottom: int) -> None:
    """Compute `near` of values (m,) in the rows from `top` to `bottom`, the end excluded.

    One loop over all rows takes two thirds of the time of a loop for each row.
    """
    first, stop = first_of_row(padded, top), first_of_row(padded, bottom)
    _sum_three_rows(values, first, stop, stride_of(padded), padded.three)
    _average_near(padded.three, first, stop, padded.near_pixels, padded.near)


@njit(cache=True, nogil=True)
def fill_ring(padded: Padded, values: FloatArray) -> None:
    """Compute `ring` of values (m,) after their `near` in all rows, which leaves the sums over three rows."""
    stride = stride_of(padded)
    for beyond in (-1, padded.height):
        first = first_of_row(padded, beyond)
        _sum_three_rows(values, first, first + stride, stride, padded.three)
    outer, eleven, side = np.empty(stride), np.empty(stride), np.zeros(stride)
    for row in range(padded.height):
        first = first_of_row(padded, row)
        _sum_rows(values, padded.three, first, outer, eleven)
        _sum_three_columns(eleven, side)
        _average_ring(outer, side, first, padded.ring_pixels, padded.ring)


@njit(cache=True, nogil=True)
def _sum_three_rows(
    values: FloatArray, first: np.uint64, stop: np.uint64, stride: np.uint64, three: FloatArray
) -> None:
    """Compute `three` from the place `first` to `stop`, the end excluded.

    Places are unsigned: Numba does not check then whether they are negative, and the loop runs in SIMD lanes.
    The same holds for the other loops over pixels.
    """
    for place in range(first, stop):
        three[place] = values[place - stride] + values[place] + values[place + stride]


@njit(cache=True, nogil=True, error_model="numpy")
def _average_near(
    three: FloatArray, first: np.uint64, stop: np.uint64, pixels: FloatArray, near: FloatArray
) -> None:
    """Compute `near` of the pixels between the places `first` and `stop`, of which both ends are dark.

    Without `error_model`, Numba verifies each divisor, and the loop does not run in SIMD lanes.
    """
    one = np.uint64(1)
    for place in range(first + one, stop - one):
        total = three[place - one] + three[place] + three[place + one]
        near[place] = total / pixels[place]


@njit(cache=True, nogil=True)
def _sum_rows(
    values: FloatArray, three: FloatArray, first: np.uint64, outer: FloatArray, eleven: FloatArray
) -> None:
    """Compute sums over rows about a row: (stride,) each.

    `outer` is over the rows three, four and five px above and below, `eleven` over all up to five px.
    """
    stride = np.uint64(len(outer))
    two, four = np.uint64(2) * stride, np.uint64(4) * stride
    for column in range(stride):
        place = first + column
        beyond = three[place - four] + three[place + four]
        outer[column] = beyond
        eleven[column] = beyond + three[place] + values[place - two] + values[place + two]


@njit(cache=True, nogil=True)
def _sum_three_columns(values: FloatArray, side: FloatArray) -> None:
    """Compute the sums of three neighbours in a row: (stride,). Those at both ends stay as they are."""
    one = np.uint64(1)
    for column in range(one, np.uint64(len(values)) - one):
        side[column] = values[column - one] + values[column] + values[column + one]


@njit(cache=True, nogil=True, error_model="numpy")
def _average_ring(
    outer: FloatArray, side: FloatArray, first: np.uint64, pixels: FloatArray, ring: FloatArray
) -> None:
    """Compute a row of `ring`: the outer rows up to two px along the row, and all rows beyond.

    `side` is the sum over all rows and three columns, so that two of them are what lies beyond.
    """
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    for column in range(np.uint64(OUTER_REACH), np.uint64(len(outer)) - np.uint64(OUTER_REACH)):
        above = outer[column - two] + outer[column - one] + outer[column] + outer[column + one]
        beside = side[column - four] + side[column + four]
        ring[first + column] = (above + outer[column + two] + beside) / pixels[first + column]


@njit(cache=True, nogil=True)
def largest(padded: Padded, values: FloatArray, top: int, bottom: int) -> float:
    """Return the largest of values (m,) in the rows from `top` to `bottom`; none of them is NaN."""
    return float(_largest_of_columns(padded, values, top, bottom).max())


@njit(cache=True, nogil=True)
def _largest_of_columns(padded: Padded, values: FloatArray, top: int, bottom: int) -> FloatArray:
    """Return the largest of each column (w,).

    Each column has its own maximum, so that the loop along a row runs in SIMD lanes.
    """
    of_columns = np.full(padded.width, -np.inf)
    for row in range(top, bottom):
        first = first_in_frame(padded, row)
        for column in range(np.uint64(padded.width)):
            value = values[first + column]
            of_columns[column] = value if value > of_columns[column] else of_columns[column]
    return of_columns
