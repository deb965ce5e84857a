"""The structure of a residual that is finer than its smoothing: single pixels, columns and rows.

Each is compared with those beside it. A defect of the camera stands out there by several times as much as in
the smoothed residual, and light that moved hardly does.
"""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_detector.arrays import Image, Images, Values
from shotwatch_detector.residual_kernels import REACH, empty_frame, measure_frame, smooth_frame, subtract
from shotwatch_detector.residuals import (
    SIGMA_OF_ROUNDING,
    Deviations,
    Extreme,
    Extremes,
    ResidualMap,
    deviations_of,
    extremes_of,
    map_residuals,
    require_shape,
)

Line = NDArray[np.float32]
"""One value for each column or row: (w,) or (h,)."""
Maps = tuple[Image, Image, Image]
"""Of pixels (h, w), columns (1, w) and rows (1, h)."""

QUIET_LINES = 0.5
"""No line is taken to be quieter than this share of a camera's lines. They are few, and the outer ones show
hardly any light.
"""
_LANES = 16
"""Sums along a row are taken in so many parts, which run in SIMD lanes."""


@dataclass(frozen=True, slots=True, eq=False)
class FineMaps:
    """Centre and spread of the structure of a camera's residuals that is finer than the smoothing."""

    pixels: ResidualMap
    """Residual of a pixel less the smoothed one: (h, w)."""
    columns: ResidualMap
    """Mean residual of a column less that of the four columns beside it: (1, w)."""
    rows: ResidualMap
    """The same for rows: (1, h)."""


@dataclass(frozen=True, slots=True, eq=False)
class FineDeviations:
    """Single pixels, columns and rows of n frames that deviate from those beside them.

    Columns are at `y` = 0, rows at `x` = 0.
    """

    pixels: Extremes
    columns: Extremes
    rows: Extremes


def no_fine_maps(height: int, width: int) -> FineMaps:
    """Return maps by which nothing deviates: the spread is enormous."""
    return FineMaps(
        *(
            ResidualMap(np.zeros(shape, np.float32), np.full(shape, 1e30, np.float32))
            for shape in ((height, width), (1, width), (1, height))
        )
    )


def map_fine(residuals: Images, count_of_peak: float) -> FineMaps:
    """Return the maps of the fine structure of residuals (n, h, w) of normal frames.

    `count_of_peak` is one count of the camera over the peak of its reference.
    """
    frames, height, width = residuals.shape
    pixels = np.empty((frames, height, width), np.float32)
    columns, rows = np.empty((frames, 1, width), np.float32), np.empty((frames, 1, height), np.float32)
    _refine_all(np.ascontiguousarray(residuals, np.float32), pixels, columns, rows)
    rounding = SIGMA_OF_ROUNDING * count_of_peak
    return FineMaps(
        map_residuals(pixels, rounding),
        map_residuals(columns, rounding * height**-0.5, QUIET_LINES),
        map_residuals(rows, rounding * width**-0.5, QUIET_LINES),
    )


def measure_structure(
    images: Images, expected: Images, smoothed_map: ResidualMap, maps: FineMaps
) -> tuple[Deviations, FineDeviations]:
    """Return `measure_deviations`, and how single pixels, columns and rows differ from the expected ones.

    Images and expected images are (n, h, w). Both are measured together, as both need the smoothed residual.

    Raises:
        ValueError: the shapes of images, expected images and map differ.
    """
    require_shape(images, expected, smoothed_map)
    smoothed, fine = np.empty((len(images), 8)), np.empty((3, len(images), 7))
    scales = (maps.pixels, maps.columns, maps.rows)
    _measure_structure(
        np.ascontiguousarray(images),
        np.ascontiguousarray(expected),
        smoothed_map.centre,
        np.reciprocal(smoothed_map.sigma),
        smoothed,
        (maps.pixels.centre, maps.columns.centre, maps.rows.centre),
        (
            np.reciprocal(maps.pixels.sigma),
            np.reciprocal(maps.columns.sigma),
            np.reciprocal(maps.rows.sigma),
        ),
        fine,
    )
    pixels, columns, rows = (extremes_of(of[:, 1:], scale) for of, scale in zip(fine, scales, strict=True))
    return deviations_of(smoothed, smoothed_map), FineDeviations(
        pixels, columns, Extremes(_turned(rows.highest), _turned(rows.lowest))
    )


def _turned(extreme: Extreme) -> Extreme:
    return replace(extreme, x=extreme.y, y=extreme.x)


@njit(cache=True, nogil=True)
def _refine_all(residuals: Images, pixels: Images, columns: Images, rows: Images) -> None:
    """Fill the fine structure of residuals (n, h, w): pixels (n, h, w), columns (n, 1, w), rows (n, 1, h)."""
    framed = empty_frame(residuals.shape[1:])
    for index in range(len(residuals)):
        framed[REACH:-REACH] = residuals[index]
        smooth_frame(framed, pixels[index])
        _refine(framed, pixels[index], columns[index, 0], rows[index, 0])


@njit(cache=True, nogil=True)
def _measure_structure(
    images: Images,
    expected: Images,
    centre: Image,
    weight: Image,
    smoothed: Values,
    centres: Maps,
    weights: Maps,
    fine: NDArray[np.float64],
) -> None:
    """Fill the table of the smoothed residuals (n, 8), and that of pixels, columns and rows (3, n, 7)."""
    framed = empty_frame(images.shape[1:])
    pixels, columns, rows = np.empty_like(centres[0]), np.empty_like(centres[1]), np.empty_like(centres[2])
    for index in range(len(images)):
        smoothed[index, 0] = subtract(images[index], expected[index], framed[REACH:-REACH])
        smooth_frame(framed, pixels)
        measure_frame(pixels, centre, weight, smoothed[index, 1:])
        _refine(framed, pixels, columns[0], rows[0])
        measure_frame(pixels, centres[0], weights[0], fine[0, index])
        measure_frame(columns, centres[1], weights[1], fine[1, index])
        measure_frame(rows, centres[2], weights[2], fine[2, index])


@njit(cache=True, nogil=True)
def _refine(framed: Image, pixels: Image, columns: Line, rows: Line) -> None:
    """Fill the fine structure of a residual with `REACH` rows of zeros above and below.

    `pixels` hold the smoothed residual before.
    """
    height, width = pixels.shape
    sums, means = np.zeros(width, np.float32), np.empty(height, np.float32)
    for row in range(height):
        residual, rest = framed[row + REACH], pixels[row]
        for column in range(width):
            sums[column] += residual[column]
            rest[column] = residual[column] - rest[column]
        means[row] = _sum(residual) / np.float32(width)
    _contrast(sums / np.float32(height), columns)
    _contrast(means, rows)


@njit(cache=True, nogil=True)
def _sum(line: Line) -> np.float32:
    lanes, whole = np.zeros(_LANES, np.float32), len(line) // _LANES * _LANES
    for start in range(0, whole, _LANES):
        part = line[start : start + _LANES]
        for lane in range(_LANES):
            lanes[lane] += part[lane]
    total = np.float32(0)
    for lane in range(_LANES):
        total += lanes[lane]
    for index in range(whole, len(line)):
        total += line[index]
    return total


@njit(cache=True, nogil=True)
def _contrast(line: Line, contrast: Line) -> None:
    """Fill each value less the mean of the two on each side; beyond an end, the value at the end counts."""
    last = len(line) - 1
    for at in range(len(line)):
        before = line[max(at - 2, 0)] + line[max(at - 1, 0)]
        after = line[min(at + 1, last)] + line[min(at + 2, last)]
        contrast[at] = line[at] - (before + after) / np.float32(4)
