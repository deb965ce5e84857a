"""The uniformity of a beam's light: the power density distribution of ISO 13694, as energy per area.

ISO 13694 uses the area where the fluence E is above the clip level, a share η = 0.1 of its maximum. A
camera's single brightest pixel is often a hot one, and with noise it is always too bright, so the maximum
here is that of the mean over 3 x 3 px. Only `peak_to_average` uses the single brightest pixel, because that
is what damages a mirror. Light on fewer than 3 x 3 px has pixels above this maximum.
"""

import numpy as np
from numba import njit

from shotwatch_physics.feature import IN_LANES, Features, FloatArray, Light
from tests.reference.beam.spots import SPOT_REACH, box_sums, require_light, summed_area

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


def measure_fluence(light: Light) -> Features:
    """Return FLUENCE_FEATURES (n,) of the light (n, h, w) without noise (`light_of`).

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

    All features of a frame without light are NaN; other frames have all features.

    Raises:
        ValueError: light is not (n, h, w) finite float32 with at least one pixel, or is negative somewhere.
    """
    require_light(light)
    if light.min(initial=0) < 0:
        raise ValueError("light must not be negative")
    columns = np.full((len(FLUENCE_FEATURES), len(light)), np.nan)
    _measure_frames(np.ascontiguousarray(light), columns)
    return dict(zip(FLUENCE_FEATURES, columns, strict=True))


@njit(cache=True, nogil=True)
def _measure_frames(light: Light, columns: FloatArray) -> None:
    """Fill the columns (8, n)."""
    window = box_sums(summed_area(np.ones(light.shape[1:])), SPOT_REACH)
    for index in range(len(light)):
        frame = light[index].astype(np.float64)
        brightest = frame.max()
        if brightest > 0:
            maximum = (box_sums(summed_area(frame), SPOT_REACH) / window).max()
            area, plateau = _area(frame, CLIP_LEVEL * maximum), _area(frame, EDGE_LEVEL * maximum)
            mean, deviation = _mean_and_deviation(frame, CLIP_LEVEL * maximum, area)
            columns[0, index] = _effective_area(frame)
            columns[1, index] = deviation / mean
            columns[2, index] = mean / maximum
            columns[3, index] = _histogram_peak_width(_histogram(frame, maximum)) / BINS_PER_MAXIMUM
            columns[4, index] = (area - plateau) / area
            columns[5, index] = brightest / mean
            encircled = _encircled(frame)
            columns[6, index] = _radius(encircled, 0.5)
            columns[7, index] = _radius(encircled, 0.865)


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _effective_area(frame: FloatArray) -> float:
    total, squares = 0.0, 0.0
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            total += frame[row, column]
            squares += frame[row, column] ** 2
    return float(total**2 / squares)


@njit(cache=True, nogil=True)
def _area(frame: FloatArray, level: float) -> int:
    """Return the number of pixels above the level."""
    area: int = (frame > level).sum()
    return area


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _mean_and_deviation(frame: FloatArray, level: float, area: int) -> tuple[float, float]:
    """Return mean and standard deviation of the pixels above the level, of which there are `area`.

    The code has no branches, which would prevent sums in SIMD lanes.
    """
    total, squares = 0.0, 0.0
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            total += (frame[row, column] > level) * frame[row, column]
    mean = total / area
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            squares += (frame[row, column] > level) * (frame[row, column] - mean) ** 2
    return mean, np.sqrt(squares / area)


@njit(cache=True, nogil=True)
def _histogram(frame: FloatArray, maximum: float) -> FloatArray:
    """Return the number of lit pixels in bins of E / maximum."""
    histogram = np.zeros(BINS)
    for fluence in frame.flat:
        if fluence > 0:
            histogram[min(int(fluence / maximum * BINS_PER_MAXIMUM), BINS - 1)] += 1
    return histogram


@njit(cache=True, nogil=True)
def _histogram_peak_width(histogram: FloatArray) -> float:
    """Return the distance (bins) between the crossings of half the peak's height, interpolated linearly."""
    peak = BINS_PER_MAXIMUM // 2
    for index in range(peak, BINS):
        if histogram[index] >= histogram[peak]:
            peak = index
    return _distance_to_half(histogram[peak:]) + _distance_to_half(histogram[peak::-1])


@njit(cache=True, nogil=True)
def _distance_to_half(histogram: FloatArray) -> float:
    """Return the number of bins from the first one to where half of its height is crossed, or to the end."""
    half = histogram[0] / 2
    for index in range(1, len(histogram)):
        if histogram[index] < half:
            before = histogram[index - 1]
            return float(index - 1 + (before - half) / (before - histogram[index]))
    return len(histogram) - 0.5


@njit(cache=True, nogil=True)
def _encircled(frame: FloatArray) -> FloatArray:
    """Return the share of the light within whole numbers of half-pixel rings about its centroid.

    A pixel's light is spread evenly from half a pixel nearer to half a pixel farther than its centre.
    """
    x, y = _centroid(frame)
    height, width = frame.shape
    rings = np.zeros(int(RINGS_PER_PIXEL * np.hypot(height, width)) + 4)
    for row in range(height):
        for column in range(width):
            fluence = frame[row, column]
            if fluence > 0:
                radius = RINGS_PER_PIXEL * np.sqrt((column - x) ** 2 + (row - y) ** 2)
                ring = int(radius)
                beyond = radius - ring
                rings[max(ring - 1, 0)] += fluence * (1 - beyond) / 2
                rings[ring] += fluence / 2
                rings[ring + 1] += fluence * beyond / 2
    encircled: FloatArray = np.cumsum(rings)
    encircled /= encircled[-1]
    return encircled


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _centroid(frame: FloatArray) -> tuple[float, float]:
    total, along_x, along_y = 0.0, 0.0, 0.0
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            total += frame[row, column]
            along_x += column * frame[row, column]
            along_y += row * frame[row, column]
    return along_x / total, along_y / total


@njit(cache=True, nogil=True)
def _radius(encircled: FloatArray, share: float) -> float:
    """Return the radius (px) that encircles a share of the light, evenly spread within a ring."""
    ring = np.searchsorted(encircled, share)
    inner = encircled[ring - 1] if ring > 0 else 0.0
    part = (share - inner) / (encircled[ring] - inner)
    return float(np.sqrt(ring**2 + part * ((ring + 1) ** 2 - ring**2)) / RINGS_PER_PIXEL)
