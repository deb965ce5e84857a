"""Features of the beam in a camera frame: light, position, size and shape, and the camera's defects."""

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.aperture import measure_spread
from shotwatch_physics.background import UNLIT_SIGMAS, Background, survey
from shotwatch_physics.feature import Features, FloatArray, Light, ratio
from shotwatch_physics.moments import ROUNDING, Images, Spread, principal_moments
from shotwatch_physics.noise import NoiseModel, counts_above_dark, light_in
from shotwatch_physics.region import Region, recorded_regions
from tests.reference.beam.fluence import measure_fluence
from tests.reference.beam.spots import measure_spots

PIXELS_AT_ONCE = 2**18
"""Limits the memory: a few arrays of this many float64."""
LIT_SHARE = 0.1
"""A pixel with more than this share of the frame's peak is well inside the light."""


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
    if not len(images):
        return _measure(images, saturated_at, noise)
    at_once = max(1, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    chunks = [
        _measure_recorded(images[start : start + at_once], saturated_at, noise)
        for start in range(0, len(images), at_once)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _measure_recorded(images: Images, saturated_at: int, noise: NoiseModel | None) -> Features:
    """Measure frames without their black borders; positions are those in the whole frame."""
    regions = recorded_regions(images)
    if len(set(regions)) == 1:
        return _measure_region(images, saturated_at, noise, regions[0])
    single = [
        _measure_region(images[n : n + 1], saturated_at, noise, region) for n, region in enumerate(regions)
    ]
    return {name: np.concatenate([features[name] for features in single]) for name in single[0]}


def _measure_region(images: Images, saturated_at: int, noise: NoiseModel | None, region: Region) -> Features:
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    features = _measure(images[:, rows, columns], saturated_at, noise and noise.part(rows, columns))
    for name in ("centroid_x", "spot_x", "hole_x"):
        features[name] = features[name] + region.left
    for name in ("centroid_y", "spot_y", "hole_y"):
        features[name] = features[name] + region.top
    return features


def _measure(images: Images, saturated_at: int, noise: NoiseModel | None) -> Features:
    surveyed = survey(images)
    background, cleaned = surveyed.background, surveyed.cleaned
    spread = measure_spread(cleaned, background)
    alone = np.isnan(spread[0]) & (surveyed.hot_pixels > 0)
    cleaned[alone] = images[alone]
    spread[:, alone] = measure_spread(images[alone], background.of(alone))
    counts = counts_above_dark(images, background)
    peak = counts.max(axis=(1, 2)).astype(np.float64)
    if noise is not None:
        counts = counts_above_dark(images, noise)
    pixels = images.shape[1] * images.shape[2]
    return {
        "total_intensity": cleaned.sum(axis=(1, 2)) - background.level * pixels,
        "peak_intensity": peak,
        "background": background.level,
        "background_noise": background.noise,
        **_shape(spread),
        "saturated_pixels": _count(images >= saturated_at),
        "dead_pixels": _dead_pixels(images, background, peak),
        "hot_pixels": surveyed.hot_pixels,
        **_fluence_and_spots(counts, noise or background, background, spread),
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


def _fluence_and_spots(
    counts: Light, dark: NoiseModel | Background, background: Background, spread: Spread
) -> Features:
    """Return the features of fluence and spots; counts are above `dark`.

    NaN if there is no beam, or if only the camera's hot pixels are lit.
    """
    light = light_in(counts, dark)
    features = {**measure_fluence(light), **measure_spots(counts)}
    lit = light.max(axis=(1, 2)) > background.faintest_light - background.level
    return {name: np.where(lit & np.isfinite(spread[0]), values, np.nan) for name, values in features.items()}


def _dead_pixels(images: Images, background: Background, peak: FloatArray) -> FloatArray:
    well_lit = np.maximum(background.faintest_light, background.level + LIT_SHARE * peak)
    lit = images > whole_counts(well_lit)
    dark = images <= whole_counts(background.level + UNLIT_SIGMAS * background.noise)
    dead = np.zeros_like(dark)
    dead[:, :, 1:-1] = lit[:, :, :-2] & lit[:, :, 2:]
    dead[:, 1:-1] |= lit[:, :-2] & lit[:, 2:]
    return _count(dead & dark)


def _count(pixels: NDArray[np.bool_]) -> FloatArray:
    count: FloatArray = pixels.sum(axis=(1, 2), dtype=np.float64)
    return count


def whole_counts(threshold: FloatArray) -> Images:
    """Return per-frame thresholds (n,) as counts (n, 1, 1).

    A pixel is above the returned count exactly when it is above the threshold.
    """
    return np.clip(np.floor(threshold), 0, np.iinfo(np.uint16).max).astype(np.uint16)[:, None, None]
