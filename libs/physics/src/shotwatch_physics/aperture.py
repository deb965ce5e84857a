"""The beam's position and spread within the self-convergent rectangle of ISO 11146.

ISO 11146-1 and ISO/TR 11146-3: integrate over a rectangle that is centred on the beam, rotated to its
principal axes and three beam widths (D4σ) in size. Repeat this with the beam that was found, until the beam
agrees with its own rectangle. Without the rectangle, the noise far from the beam would have the largest
weight.

The search starts from the pixels that are more than six standard deviations of the noise and 2 % of the peak
above the background, so that a wide, faint glow does not decide where the beam is. If no pixel is, the noise
within the cells of the background (`pixel_noise`) replaces that about the plane.

The frame's background is a plane (`background`). Stray light is seldom a plane, so the background is
corrected near the beam: by a quadratic surface through a band of cells around it, from 4.5 standard
deviations of the beam outwards. Each term of the surface counts only as far as it exceeds its noise
(`surface`). The band must lie on all sides of the beam: the correction fades out as the frame cuts the band
on one side, and a larger beam has only the plane. So light counts as background if it is fainter than 2 % of
the peak and outside the aperture, or smooth enough for the surface.

A beam that the frame's edge clips is measured as it is: centroid and widths are those of the light within the
frame.
"""

import numpy as np
from numba import njit

from shotwatch_physics.background import (
    STEP,
    UNLIT_SIGMAS,
    Background,
    faintest_of_beam,
    tilted,
)
from shotwatch_physics.cells import cell_bounds, cell_size
from shotwatch_physics.feature import IN_LANES, FloatArray
from shotwatch_physics.moments import (
    Image,
    Images,
    Spread,
    add_row,
    brightest_of_rows,
    moments_of_lit,
    principal_axes,
    spread_of,
)
from shotwatch_physics.surface import fit_surface, weighted_mean

HALF_SIZE_SIGMAS = 6.0
"""Half of three beam widths of four standard deviations each."""
SMALLEST_HALF_SIZE = 1.0
"""In px. Light on a single pixel has no width, and its aperture must still contain that pixel."""
BAND_BEGINS = 0.75
"""Inner size of the band around the beam, relative to the aperture: 4.5 standard deviations."""
BAND_CELLS = 3.0
"""Width of the band, in cells."""
TERMS = 6
"""Number of terms of a quadratic surface."""
REJECTIONS = 2
"""Number of times that lit cells are removed from the band."""
TOLERANCE = 2e-3
"""Converged: centroid and both widths change by less than this share of the larger width."""
MAX_STEPS = 20
"""If noise makes pixels at the rim enter and leave the aperture forever, the last step counts."""
PARALLEL = 1e-12
"""A side whose cosine is below this is parallel to the rows and limits no columns."""


def measure_spread(images: Images, background: Background) -> Spread:
    """Return the spread (5, n) of each frame's light above background within its self-convergent aperture.

    If the light within an aperture does not exceed the noise in it, the spread that defined the aperture is
    returned. NaN if no pixel is lit, or a single pixel that the noise exceeds.
    """
    spreads = np.empty((len(images), 5))
    tilt = np.ascontiguousarray(np.broadcast_to(background.tilt, (len(images), 2)))
    pixel_noise = np.broadcast_to(background.pixel_noise, len(images)).copy()
    images = np.ascontiguousarray(images)
    _measure_frames(images, background.level, background.noise, pixel_noise, tilt, spreads)
    return spreads.T


@njit(cache=True, nogil=True)
def _measure_frames(
    images: Images,
    level: FloatArray,
    noise: FloatArray,
    pixel_noise: FloatArray,
    tilt: FloatArray,
    spreads: FloatArray,
) -> None:
    """Fill the spreads (n, 5)."""
    height, width = images.shape[1:]
    for index in range(len(images)):
        plane = tilted(level[index], tilt[index], height, width)
        brightest = brightest_of_rows(images[index])
        peak = brightest.max() - level[index]
        faintest = faintest_of_beam(peak, noise[index])
        start = spread_of(moments_of_lit(images[index], brightest, plane, faintest))
        if np.isnan(start[0]):
            # Under a faint beam that fills the frame on a slope, the plane may be a bad fit, and the noise
            # about it larger than the beam. The noise within the cells does not depend on the plane.
            faintest = faintest_of_beam(peak, pixel_noise[index])
            start = spread_of(moments_of_lit(images[index], brightest, plane, faintest))
        spreads[index] = _converge(images[index], plane, start)


@njit(cache=True, nogil=True)
def _converge(frame: Image, plane: FloatArray, spread: FloatArray) -> FloatArray:
    for _ in range(MAX_STEPS):
        after = _spread_within(frame, spread, _surface_about(frame, plane, spread))
        # The light does not exceed the noise: keep the last spread, unless it is that of a single pixel.
        if np.isnan(after[0]):
            return spread if spread[2] + spread[3] > 0 else after
        moved = _moved(spread, after)
        spread = after
        if not moved:
            break
    return spread


@njit(cache=True, nogil=True)
def _moved(before: FloatArray, after: FloatArray) -> bool:
    major_before, minor_before, _ = principal_axes(before[2], before[3], before[4])
    major, minor, _ = principal_axes(after[2], after[3], after[4])
    shift = np.abs(after[:2] - before[:2]).max()
    growth = 4 * max(abs(np.sqrt(major) - np.sqrt(major_before)), abs(np.sqrt(minor) - np.sqrt(minor_before)))
    moved: bool = max(shift, growth) > TOLERANCE * 4 * np.sqrt(major)
    return moved


@njit(cache=True, nogil=True)
def _half_sizes(aperture: FloatArray) -> tuple[float, float, float]:
    """Return half the size of the rectangle along the major and the minor axis (px), and the angle (rad)."""
    major, minor, angle = principal_axes(aperture[2], aperture[3], aperture[4])
    return (
        max(HALF_SIZE_SIGMAS * np.sqrt(major), SMALLEST_HALF_SIZE),
        max(HALF_SIZE_SIGMAS * np.sqrt(minor), SMALLEST_HALF_SIZE),
        angle,
    )


@njit(cache=True, nogil=True)
def _spread_within(frame: Image, aperture: FloatArray, surface: FloatArray) -> FloatArray:
    """Return the spread (5,) of the light above the surface inside the rectangle of the spread `aperture`."""
    height, width = frame.shape
    x, y = aperture[:2]
    half_major, half_minor, angle = _half_sizes(aperture)
    cosine, sine = np.cos(angle), np.sin(angle)
    moments = np.zeros(6)
    for row in range(height):
        left, right = _crossed(row - y, cosine, sine, half_major)
        left_too, right_too = _crossed(row - y, -sine, cosine, half_minor)
        first = np.ceil(max(max(left, left_too) + x, 0.0))
        last = np.floor(min(min(right, right_too) + x, width - 1.0))
        if first <= last:
            light, along, squared = _row_moments(frame, row, int(first), int(last) + 1, x, row - y, surface)
            add_row(moments, row, light, along, squared)
    return spread_of(moments)


@njit(cache=True, nogil=True)
def _crossed(row: float, cosine: float, sine: float, half_size: float) -> tuple[float, float]:
    """Return between which columns |column cosine + row sine| ≤ half size; lengths are from the centroid."""
    steep = PARALLEL if abs(cosine) < PARALLEL else cosine
    middle, reach = -row * sine / steep, half_size / abs(steep)
    return middle - reach, middle + reach


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _row_moments(
    frame: Image, row: int, first: int, stop: int, x: float, down: float, surface: FloatArray
) -> tuple[float, float, float]:
    """Return Σ I, Σ x I and Σ x² I of a row's pixels above a surface, about column `x`, `down` rows above."""
    start = surface[0] + down * (surface[2] + down * surface[5])
    slope, bend = surface[1] + down * surface[4], surface[3]
    light, along, squared = 0.0, 0.0, 0.0
    for column in range(np.uint64(first), np.uint64(stop)):
        place = float(column)
        right = place - x
        excess = frame[np.uint64(row), column] - (start + right * (slope + right * bend))
        light += excess
        along += place * excess
        squared += place * place * excess
    return light, along, squared


@njit(cache=True, nogil=True)
def _surface_about(frame: Image, plane: FloatArray, aperture: FloatArray) -> FloatArray:
    """Return the background in an aperture: factors (6,) of 1, x, y, x², x y, y² from its centre (px)."""
    surface = np.zeros(TERMS)
    surface[0] = plane[0] + plane[1] * aperture[0] + plane[2] * aperture[1]
    surface[1:3] = plane[1:]
    size = cell_size(*frame.shape)
    room = min(_room(aperture, *frame.shape) / (BAND_CELLS * size), 1.0)
    if room > 0:
        terms, rises, pixels = _band(frame, surface, aperture, size)
        kept = pixels
        for _ in range(REJECTIONS if len(rises) else 0):
            mean = weighted_mean(rises, kept)
            deviation = np.sqrt(weighted_mean((rises - mean) ** 2, kept))
            kept = pixels * (np.abs(rises - mean) <= UNLIT_SIGMAS * max(deviation, STEP / size))
        surface += room * fit_surface(terms, rises, kept, 0)
    return surface


@njit(cache=True, nogil=True)
def _room(aperture: FloatArray, height: int, width: int) -> float:
    """Return the width (px) of a band about the aperture that the frame allows on its narrowest side."""
    half_major, half_minor, angle = _half_sizes(aperture)
    cosine, sine = abs(np.cos(angle)), abs(np.sin(angle))
    across, down = half_major * cosine + half_minor * sine, half_major * sine + half_minor * cosine
    x, y = aperture[:2]
    beside = min(x, width - 1 - x) - BAND_BEGINS * across
    above = min(y, height - 1 - y) - BAND_BEGINS * down
    room: float = min(beside, above) + 0.5
    return room


@njit(cache=True, nogil=True)
def _band(
    frame: Image, surface: FloatArray, aperture: FloatArray, size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the cells around a beam: terms of a surface (6, m), means above the plane, pixels (m,) each.

    The plane has the first three terms of `surface`.
    """
    height, width = frame.shape
    half_major, half_minor, angle = _half_sizes(aperture)
    cosine, sine = np.cos(angle), np.sin(angle)
    rows, columns = cell_bounds(height, size), cell_bounds(width, size)
    most = (len(rows) - 1) * (len(columns) - 1)
    terms, rises, pixels = np.ones((TERMS, most)), np.empty(most), np.empty(most)
    count = 0
    for row in range(len(rows) - 1):
        down = (rows[row] + rows[row + 1] - 1) / 2 - aperture[1]
        for column in range(len(columns) - 1):
            right = (columns[column] + columns[column + 1] - 1) / 2 - aperture[0]
            along = abs(right * cosine + down * sine) - BAND_BEGINS * half_major
            across = abs(down * cosine - right * sine) - BAND_BEGINS * half_minor
            if 0 < max(along, across) <= BAND_CELLS * size:
                top, bottom, left, stop = rows[row], rows[row + 1], columns[column], columns[column + 1]
                light = _light(frame, top, bottom, left, stop)
                pixels[count] = (bottom - top) * (stop - left)
                terms[1, count], terms[2, count] = right, down
                terms[3, count], terms[4, count], terms[5, count] = right**2, right * down, down**2
                rises[count] = light / pixels[count] - (surface[0] + surface[1] * right + surface[2] * down)
                count += 1
    return terms[:, :count].copy(), rises[:count], pixels[:count]


@njit(cache=True, nogil=True)
def _light(frame: Image, top: int, bottom: int, left: int, right: int) -> int:
    """Return Σ I of a cell."""
    light = 0
    for row in range(top, bottom):
        for column in range(left, right):
            light += frame[row, column]
    return light
