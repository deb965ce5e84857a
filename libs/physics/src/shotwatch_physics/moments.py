"""Position and spread of the light in a frame: moments of the intensity, and quantities derived from them."""

from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.feature import IN_LANES, FloatArray

Images = NDArray[np.uint16]
"""Frames (n, h, w) in counts."""
Image = NDArray[np.uint16]
"""One frame (h, w) in counts."""
Counts = NDArray[np.uint16]
"""A row of a frame (w,) in counts."""
Spread = FloatArray
"""Position and spread of light: (5, n), rows x, y (centroid, px), xx, yy, xy (central moments, px²).

x increases to the right and y downwards; pixel centres are whole numbers. A column is NaN for a frame without
light, because there is no beam to describe.
"""

Number = TypeVar("Number", bound=np.generic)

ROUNDING = 1e-9
"""Second moments closer to zero than this (px²) are zero."""


def read_only(frames: NDArray[Number]) -> NDArray[Number]:
    """Return a view that cannot be written to, in C order; a copy if the frames are not in C order.

    Frames of a block cannot be written to, others can. For Numba these are two types, and it compiles a
    function for each.
    """
    view = np.ascontiguousarray(frames).view()
    view.flags.writeable = False
    return view


@njit(cache=True, nogil=True)
def brightest_of_rows(frame: Image) -> Counts:
    """Return the largest count of each row: (h,)."""
    brightest = np.zeros(len(frame), np.uint16)
    for row in range(len(frame)):
        counts, largest = frame[row], np.uint16(0)
        for column in range(np.uint64(len(counts))):
            largest = max(largest, counts[column])
        brightest[row] = largest
    return brightest


@njit(cache=True, nogil=True)
def moments_of_lit(frame: Image, brightest: Counts, plane: FloatArray, faintest: float) -> FloatArray:
    """Return Σ I, Σ x I, Σ y I, Σ x² I, Σ y² I, Σ x y I of pixels more than `faintest` above a plane: (6,).

    I is the light above the plane. The plane is (3,): counts at row 0 and column 0, per column, per row.
    Rows whose `brightest` count (h,) is not lit above the plane's lower end have no light.
    """
    moments, width = np.zeros(6), frame.shape[1]
    for row in range(len(frame)):
        start = plane[0] + plane[2] * row
        if brightest[row] - min(start, start + plane[1] * (width - 1)) > faintest:
            light, along, squared = _moments_of_lit_row(frame[row], start, plane[1], faintest)
            add_row(moments, row, light, along, squared)
    return moments


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _moments_of_lit_row(
    counts: Counts, start: float, slope: float, faintest: float
) -> tuple[float, float, float]:
    """Return Σ I, Σ x I and Σ x² I of a row's pixels more than `faintest` above a line."""
    light, along, squared = 0.0, 0.0, 0.0
    for column in range(np.uint64(len(counts))):
        x = float(column)
        above = counts[column] - (start + slope * x)
        lit = above if above > faintest else 0.0
        light += lit
        along += x * lit
        squared += x * x * lit
    return light, along, squared


@njit(cache=True, nogil=True)
def moments_of(light: FloatArray) -> FloatArray:
    """Return Σ I, Σ x I, Σ y I, Σ x² I, Σ y² I, Σ x y I of a frame's light (h, w): (6,)."""
    moments = np.zeros(6)
    for row in range(len(light)):
        add_row(moments, row, *_moments_of_row(light[row]))
    return moments


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _moments_of_row(light: FloatArray) -> tuple[float, float, float]:
    """Return Σ I, Σ x I and Σ x² I of a row (w,)."""
    total, along, squared = 0.0, 0.0, 0.0
    for column in range(np.uint64(len(light))):
        x = float(column)
        total += light[column]
        along += x * light[column]
        squared += x * x * light[column]
    return total, along, squared


@njit(cache=True, nogil=True)
def add_row(moments: FloatArray, row: int, light: float, along: float, squared: float) -> None:
    """Add Σ I, Σ x I and Σ x² I of a row to the moments (6,) of its frame."""
    moments[0] += light
    moments[1] += along
    moments[2] += row * light
    moments[3] += squared
    moments[4] += row * row * light
    moments[5] += row * along


@njit(cache=True, nogil=True)
def spread_of(moments: FloatArray) -> FloatArray:
    """Return centroid and central second moments (5,) of raw moments (6,), ISO 11146-1.

    NaN without positive light, or if the second moment is negative in some direction.
    """
    light = moments[0]
    if not light > 0:
        return np.full(5, np.nan)
    x, y = moments[1] / light, moments[2] / light
    xx, yy, xy = moments[3] / light - x * x, moments[4] / light - y * y, moments[5] / light - x * y
    if principal_axes(xx, yy, xy)[1] < 0:
        return np.full(5, np.nan)
    return np.array([x, y, xx, yy, xy])


@njit(cache=True, nogil=True)
def principal_axes(xx: float, yy: float, xy: float) -> tuple[float, float, float]:
    """Return the second moments along the major and minor axes (px²), and the major axis' angle (rad).

    The eigenvalues and the first eigenvector of ((xx, xy), (xy, yy)), ISO 11146-1; the angle is from x
    towards y.
    """
    mean, half_difference = (xx + yy) / 2, (xx - yy) / 2
    radius = np.hypot(half_difference, xy)
    major, minor = mean + radius, mean - radius
    return (
        0.0 if abs(major) < ROUNDING else major,
        0.0 if abs(minor) < ROUNDING else minor,
        np.arctan2(xy, half_difference) / 2,
    )


def principal_moments(spread: Spread) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return `principal_axes` of each frame: (n,) each."""
    axes = np.array([principal_axes(*moments) for moments in spread[2:].T]).reshape(-1, 3)
    return axes[:, 0], axes[:, 1], axes[:, 2]
