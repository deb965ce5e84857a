"""The uniformity of a beam's light: the power density distribution of ISO 13694, as energy per area.

ISO 13694 uses the area where the fluence E is above the clip level, a share η = 0.1 of its maximum. A
camera's single brightest pixel is often a hot one, and with noise it is always too bright, so the maximum
here is that of the mean over 3 x 3 px. Only `peak_to_average` uses the single brightest pixel, because that
is what damages a mirror. Light on fewer than 3 x 3 px has pixels above this maximum.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from shotwatch_physics.feature import IN_LANES, FloatArray
from shotwatch_physics.padded import (
    Padded,
    fill_near,
    first_in_frame,
    first_of_row,
    largest,
    lit_columns,
    lit_rows,
)

FLUENCE_FEATURES = (
    "effective_area",
    "fluence_uniformity",
    "flatness",
    "plateau_uniformity",
    "edge_steepness",
    "peak_to_average",
    "encircled_radius_50",
    "encircled_radius_86",
)

CLIP_LEVEL = 0.1
"""η, and the lower level of the edge steepness."""
EDGE_LEVEL = 0.9
"""ε, the upper level of the edge steepness."""
BINS_PER_MAXIMUM = 64
"""Bins of the fluence histogram between zero and the maximum."""
BINS = 96
"""Bins up to one and a half maxima; the last one holds all brighter pixels."""
RINGS_PER_PIXEL = 2


@njit(cache=True, nogil=True)
def fluence_in(padded: Padded, found: FloatArray) -> None:
    """Write FLUENCE_FEATURES (8,) of a frame's light into `found`, which stays as it is without light.

    effective_area: (Σ E)² / Σ E² (px²): that of an evenly lit area is the area itself, that of a Gaussian is
    4π σx σy.
    fluence_uniformity: U_η, rms deviation of E from its mean above the clip level, over that mean.
    flatness: F_η, mean above the clip level over the maximum.
    plateau_uniformity: U_P, full width at half maximum of the histogram's peak near the maximum, over the
    maximum. Bins of 1/64 of the maximum; the peak is the fullest bin above half of the maximum. Not below
    1/64; near 1 where there is no plateau; rough where the plateau has fewer than 100 px.
    edge_steepness: s, share of the area above η E_max that is not above 0.9 E_max; 0 is a vertical edge.
    peak_to_average: brightest pixel over the mean above the clip level.
    encircled_radius_50, encircled_radius_86: radius (px) about the light's own centroid that encircles 50 %
    and 86.5 % of it; for a round Gaussian σ √(2 ln 2) and 2σ.
    """
    top, bottom = lit_rows(padded)
    if top < bottom:
        brightest = largest(padded, padded.light, top, bottom)
        # The window of 3 x 3 px contains light from the row before the first lit one to that after the last.
        before, after = max(top - 1, 0), min(bottom + 1, padded.height)
        fill_near(padded, padded.light, before, after)
        maximum = largest(padded, padded.near, before, after)
        begin, end = int(first_of_row(padded, top)), int(first_of_row(padded, bottom))
        light = padded.light[begin:end]
        total, squares, x, y = _sums(light, padded.x[begin:end], padded.y[begin:end])
        area, plateau, above = _sums_above(light, CLIP_LEVEL * maximum, EDGE_LEVEL * maximum)
        mean = above / area
        deviation = np.sqrt(_squares_above(light, CLIP_LEVEL * maximum, mean) / area)
        encircled = _encircled(padded, top, bottom, x, y)
        found[0] = total**2 / squares
        found[1] = deviation / mean
        found[2] = mean / maximum
        found[3] = _histogram_peak_width(_histogram(light, maximum)) / BINS_PER_MAXIMUM
        found[4] = (area - plateau) / area
        found[5] = brightest / mean
        found[6] = _radius(encircled, 0.5)
        found[7] = _radius(encircled, 0.865)


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _sums(light: FloatArray, x: FloatArray, y: FloatArray) -> tuple[float, float, float, float]:
    """Return Σ E, Σ E² and the centroid's x and y of the light at the places x and y, (m,) each."""
    total, squares, along_x, along_y = 0.0, 0.0, 0.0, 0.0
    for place in range(np.uint64(len(light))):
        total += light[place]
        squares += light[place] ** 2
        along_x += x[place] * light[place]
        along_y += y[place] * light[place]
    return total, squares, along_x / total, along_y / total


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _sums_above(light: FloatArray, clip: float, edge: float) -> tuple[float, float, float]:
    """Return the areas (px) of the light above two levels, and Σ E above the first one.

    The code has no branches, which would prevent sums in SIMD lanes. The same holds for `_squares_above`.
    """
    area, plateau, total = 0.0, 0.0, 0.0
    for place in range(np.uint64(len(light))):
        fluence = light[place]
        area += 1.0 if fluence > clip else 0.0
        plateau += 1.0 if fluence > edge else 0.0
        total += fluence if fluence > clip else 0.0
    return area, plateau, total


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _squares_above(light: FloatArray, clip: float, mean: float) -> float:
    """Return Σ (E - mean)² of the light above a level."""
    squares = 0.0
    for place in range(np.uint64(len(light))):
        squares += (light[place] - mean) ** 2 if light[place] > clip else 0.0
    return squares


@njit(cache=True, nogil=True, error_model="numpy")
def _histogram(light: FloatArray, maximum: float) -> NDArray[np.int64]:
    """Return the number of lit pixels in bins of E / maximum.

    It is a division, because the product with 1 / maximum puts pixels between two bins into the wrong one.
    Neighbours often share a bin and would wait for each other, so each of four has a histogram of its own.
    Dark pixels, and those that are missing to the last four, fall into one more bin.
    """
    bins = np.full(-(-len(light) // 4) * 4, BINS, np.uint8)
    for place in range(np.uint64(len(light))):
        within = np.int32(min(light[place] / maximum * BINS_PER_MAXIMUM, BINS - 1.0))
        bins[place] = within if light[place] > 0 else BINS
    histograms = np.zeros((4, BINS + 1), np.int64)
    for four in bins.reshape(-1, 4):
        histograms[0, four[0]] += 1
        histograms[1, four[1]] += 1
        histograms[2, four[2]] += 1
        histograms[3, four[3]] += 1
    histogram: NDArray[np.int64] = histograms.sum(axis=0)[:BINS]
    return histogram


@njit(cache=True, nogil=True)
def _histogram_peak_width(histogram: NDArray[np.int64]) -> float:
    """Return the distance (bins) between the crossings of half the peak's height, interpolated linearly."""
    peak = BINS_PER_MAXIMUM // 2
    for index in range(peak, BINS):
        if histogram[index] >= histogram[peak]:
            peak = index
    return _distance_to_half(histogram[peak:]) + _distance_to_half(histogram[peak::-1])


@njit(cache=True, nogil=True)
def _distance_to_half(histogram: NDArray[np.int64]) -> float:
    """Return the number of bins from the first one to where half of its height is crossed, or to the end."""
    half = histogram[0] / 2
    for index in range(1, len(histogram)):
        if histogram[index] < half:
            before = histogram[index - 1]
            return float(index - 1 + (before - half) / (before - histogram[index]))
    return len(histogram) - 0.5


@njit(cache=True, nogil=True)
def _encircled(padded: Padded, top: int, bottom: int, x: float, y: float) -> FloatArray:
    """Return the share of the light within whole numbers of half-pixel rings about its centroid.

    Rows from `top` to `bottom`, the end excluded, have light.
    A pixel's light is spread evenly from half a pixel nearer to half a pixel farther than its centre. So half
    of it belongs to the pixel's own ring. The other half is divided between the rings before and after it,
    by how far beyond the start of its own ring the pixel is.
    """
    size = int(RINGS_PER_PIXEL * np.hypot(padded.height, padded.width)) + 4
    sums = np.zeros((size, 2, 2))  # of each ring, of every other column: light, and light beyond its start
    ring_of, beyond = np.empty(padded.width, np.uint32), np.empty(padded.width)
    left, right = lit_columns(padded, top, bottom)
    for row in range(top, bottom):
        first = first_in_frame(padded, row)
        for column in range(np.uint64(left), np.uint64(right)):
            radius = RINGS_PER_PIXEL * np.sqrt((column - x) ** 2 + (row - y) ** 2)
            ring_of[column] = np.uint32(np.int32(radius))
            beyond[column] = padded.light[first + column] * (radius - np.int32(radius))
        # Neighbours often share a ring and would wait for each other, so each of two has sums of its own.
        for column in range(np.uint64(left), np.uint64(right)):
            ring, parity = ring_of[column], column % np.uint64(2)
            sums[ring, parity, 0] += padded.light[first + column]
            sums[ring, parity, 1] += beyond[column]
    in_ring, beyond_start = sums.sum(axis=1).T
    rings = in_ring / 2
    rings[1:] += beyond_start[:-1] / 2
    rings[:-1] += (in_ring - beyond_start)[1:] / 2
    rings[0] += (in_ring[0] - beyond_start[0]) / 2  # nothing is nearer than the first ring
    encircled: FloatArray = np.cumsum(rings)
    encircled /= encircled[-1]
    return encircled


@njit(cache=True, nogil=True)
def _radius(encircled: FloatArray, share: float) -> float:
    """Return the radius (px) that encircles a share of the light, evenly spread within a ring."""
    ring = np.searchsorted(encircled, share)
    inner = encircled[ring - 1] if ring > 0 else 0.0
    part = (share - inner) / (encircled[ring] - inner)
    return float(np.sqrt(ring**2 + part * ((ring + 1) ** 2 - ring**2)) / RINGS_PER_PIXEL)
