"""Features of the beam in a camera frame: light, position, size and shape, and the camera's defects."""

from math import prod

import numpy as np
from numba import njit

from shotwatch_physics.aperture import measure_spread
from shotwatch_physics.background import UNLIT_SIGMAS, survey
from shotwatch_physics.feature import IN_LANES, Features, FloatArray, Light, ratio
from shotwatch_physics.fluence import FLUENCE_FEATURES, fluence_in
from shotwatch_physics.moments import (
    ROUNDING,
    Counts,
    Image,
    Images,
    Spread,
    brightest_of_rows,
    principal_moments,
    read_only,
)
from shotwatch_physics.noise import NoiseModel, margin
from shotwatch_physics.padded import fill_counts, fill_light, fill_plane, make_padded
from shotwatch_physics.region import Region, recorded_regions
from shotwatch_physics.spots import SPOT_FEATURES, spots_in

LIT_SHARE = 0.1
"""A pixel with more than this share of the frame's peak is well inside the light."""
OF_PIXELS = ("peak_intensity", "saturated_pixels", "dead_pixels", *FLUENCE_FEATURES, *SPOT_FEATURES)
"""The features that one pass over a frame measures, in this order."""


def measure_beams(images: Images, saturated_at: int, noise: NoiseModel | None = None) -> Features:
    """Return the BEAM_FEATURES of frames (n, h, w) in counts.

    Fluence and spots are measured above the camera's `noise`, or without one above each frame's own
    background; all other features are measured above the background. A frame's features do not depend on the
    other frames. The assumptions about background, hot pixels, black borders, and beams that the frame clips
    or that fill it are described in `background`, `defects`, `region`, `aperture` and docs/beam.md.

    Args:
        images: (n, h, w) counts.
        saturated_at: the count at which the camera saturates.
        noise: the camera's noise model, if it has one.

    Raises:
        ValueError: images are not (n, h, w) uint16 with at least one pixel, or not of the noise's shape.
    """
    if images.ndim != 3 or images.dtype != np.uint16 or 0 in images.shape[1:]:
        raise ValueError(f"frames must be (n, h, w) uint16, not {images.shape} {images.dtype}")
    if noise is not None and noise.mean.shape != images.shape[1:]:
        raise ValueError(f"frames {images.shape} are not of the noise's shape {noise.mean.shape}")
    images = read_only(images)
    if not len(images):
        return _measure(images, saturated_at, noise)
    regions = recorded_regions(images)
    if len(set(regions)) == 1:
        return _measure_region(images, saturated_at, noise, regions[0])
    single = [
        _measure_region(images[n : n + 1], saturated_at, noise, region) for n, region in enumerate(regions)
    ]
    return {name: np.concatenate([features[name] for features in single]) for name in single[0]}


def _measure_region(images: Images, saturated_at: int, noise: NoiseModel | None, region: Region) -> Features:
    """Measure frames without their black borders; positions are those in the whole frame."""
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    features = _measure(images[:, rows, columns], saturated_at, noise and noise.part(rows, columns))
    for name in ("centroid_x", "spot_x", "hole_x"):
        features[name] = features[name] + region.left
    for name in ("centroid_y", "spot_y", "hole_y"):
        features[name] = features[name] + region.top
    return features


def _measure(images: Images, saturated_at: int, noise: NoiseModel | None) -> Features:
    images = read_only(images)
    surveyed = survey(images)
    background = surveyed.background
    spread = measure_spread(surveyed.cleaned, background)
    alone = np.isnan(spread[0]) & (surveyed.hot_pixels > 0)
    if alone.any():
        surveyed.total[alone] = images[alone].sum(axis=(1, 2))
        spread[:, alone] = measure_spread(images[alone], background.of(alone))
    columns = np.full((len(images), len(OF_PIXELS)), np.nan)
    model = None if noise is None else (np.ascontiguousarray(noise.mean), margin(noise))
    thresholds = np.stack([background.level, background.noise, background.faintest_light], axis=1)
    margins = margin(background).ravel()
    _measure_frames(images, saturated_at, thresholds, background.tilt, margins, model, columns)
    of_pixels = dict(zip(OF_PIXELS, columns.T, strict=True))
    for name in (*FLUENCE_FEATURES, *SPOT_FEATURES):
        of_pixels[name] = np.where(np.isfinite(spread[0]), of_pixels[name], np.nan)
    return {
        "total_intensity": surveyed.total - background.level * prod(images.shape[1:]),
        "peak_intensity": of_pixels.pop("peak_intensity"),
        "background": background.level,
        "background_noise": background.noise,
        **_shape(spread),
        "saturated_pixels": of_pixels.pop("saturated_pixels"),
        "dead_pixels": of_pixels.pop("dead_pixels"),
        "hot_pixels": surveyed.hot_pixels,
        **of_pixels,
    }


def _shape(spread: Spread) -> Features:
    major, minor, angle = principal_moments(spread)
    d4sigma_major, d4sigma_minor = 4 * np.sqrt(major), 4 * np.sqrt(minor)
    orientation = np.where(angle >= np.pi / 2, np.pi / 2, -angle)
    return {
        "centroid_x": spread[0],
        "centroid_y": spread[1],
        "d4sigma_major": d4sigma_major,
        "d4sigma_minor": d4sigma_minor,
        "orientation": np.where(major - minor > ROUNDING, orientation, np.nan),
        "ellipticity": ratio(d4sigma_minor, d4sigma_major),
    }


@njit(cache=True, nogil=True)
def _measure_frames(
    images: Images,
    saturated_at: int,
    thresholds: FloatArray,
    tilt: FloatArray,
    margins: Light,
    model: tuple[Light, Light] | None,
    columns: FloatArray,
) -> None:
    """Fill the columns (n, 20), which are NaN before.

    Args:
        images: (n, h, w).
        saturated_at: the count at which the camera saturates.
        thresholds: level, noise, and count above which a pixel is lit, of each background (n, 3).
        tilt: of each background (n, 2).
        margins: of each background (n,).
        model: mean and margin of each pixel (h, w), if the camera has a noise model.
        columns: the values of OF_PIXELS.
    """
    height, width = images.shape[1:]
    padded, plane, margin = (
        make_padded(height, width),
        np.empty((height, width), np.float32),
        np.empty((height, width), np.float32),
    )
    for index in range(len(images)):
        level, noise, faintest = thresholds[index]
        fill_plane(level, tilt[index], plane)
        peak = fill_counts(padded, images[index], plane)
        well_lit = max(faintest, level + LIT_SHARE * peak)
        brightest = brightest_of_rows(images[index])
        columns[index, 0] = peak
        columns[index, 1] = _saturated_pixels(images[index], brightest, saturated_at)
        columns[index, 2] = _dead_pixels(images[index], brightest, well_lit, level + UNLIT_SIGMAS * noise)
        if model is None:
            margin[:] = margins[index]
            brightest_light = fill_light(padded, margin)
        else:
            fill_counts(padded, images[index], model[0])
            brightest_light = fill_light(padded, model[1])
        # Without light, or if only noise is lit, there is no beam to describe.
        if brightest_light > faintest - level:
            fluence_in(padded, columns[index, 3:11])
            spots_in(padded, columns[index, 11:])


@njit(cache=True, nogil=True)
def _saturated_pixels(frame: Image, brightest: Counts, saturated_at: int) -> int:
    """Return the number of saturated pixels; `brightest` are the largest counts of the rows (h,)."""
    saturated = 0
    for row in range(len(frame)):
        if brightest[row] >= saturated_at:
            for count in frame[row]:
                saturated += count >= saturated_at
    return saturated


@njit(cache=True, nogil=True)
def _dead_pixels(frame: Image, brightest: Counts, lit_above: float, dark_to: float) -> float:
    """Return the number of dark pixels between lit ones: on the left and right, or above and below.

    No pixel is both dark and lit, so a pixel at the edge of the frame may stand for the neighbour it lacks.
    `brightest` are the largest counts of the rows (h,): most rows have no lit pixels.
    """
    lit, dark = np.float32(np.floor(lit_above)), np.float32(np.floor(dark_to))
    dead = 0.0
    for row in range(len(frame)):
        before, after = max(row - 1, 0), min(row + 1, len(frame) - 1)
        if brightest[row] > lit or min(brightest[before], brightest[after]) > lit:
            dead += _dead_in_row(frame, np.uint64(before), np.uint64(row), np.uint64(after), lit, dark)
    return dead


@njit(cache=True, nogil=True, fastmath=IN_LANES)
def _dead_in_row(
    frame: Image, above: np.uint64, row: np.uint64, below: np.uint64, lit: np.float32, dark: np.float32
) -> float:
    """Return the number of dead pixels of a row: between lit ones above and below, or beside them.

    The pixels at both ends have no neighbour on one side. The loop over the others runs in SIMD lanes: its
    indices are unsigned, and all numbers in it are whole and exact in float32.
    """
    none, dead, one, last = np.float32(0), np.float32(0), np.uint64(1), np.uint64(frame.shape[1] - 1)
    for column in range(np.uint64(0), last + one, max(last, one)):
        between = (frame[above, column] > lit) & (frame[below, column] > lit)
        dead += np.float32(1) if (frame[row, column] <= dark) & between else none
    for column in range(one, last):
        between = (np.float32(frame[above, column]) > lit) & (np.float32(frame[below, column]) > lit)
        left, right = np.float32(frame[row, column - one]), np.float32(frame[row, column + one])
        within = between | ((left > lit) & (right > lit))
        dead += np.float32(1) if (np.float32(frame[row, column]) <= dark) & within else none
    return float(dead)
