"""The residual of an image after its reconstruction is subtracted, and where it is most anomalous."""

from dataclasses import dataclass

import numpy as np

from shotwatch_detector.arrays import Features, Image, Images, Values
from shotwatch_detector.residual_kernels import measure_all, smooth_all

QUIET_PIXELS = 0.1
"""No pixel is taken to be quieter than this share of a camera's pixels: what few frames show of a single one
is an estimate.
"""
SIGMA_OF_ROUNDING = 12**-0.5
"""In counts: the least noise of a pixel, because a camera counts in whole numbers."""
SIGMA_OF_SMOOTHED = 19 / 81
"""Noise of smoothed residuals, relative to that of a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class ResidualMap:
    """Centre and spread of the smoothed residual at each pixel of a camera: (h, w) each."""

    centre: Image
    sigma: Image


@dataclass(frozen=True, slots=True, eq=False)
class Extreme:
    """The pixel of each of n frames where the smoothed residual deviates most to one side: (n,) each.

    Of several such pixels it is the first one, by row, then by column.
    """

    deviation: Values
    """In standard deviations of that pixel."""
    size: Values
    """Deviation in shares of the reference's peak."""
    x: Values
    y: Values


@dataclass(frozen=True, slots=True, eq=False)
class Extremes:
    """The highest and the lowest deviation of each of n frames."""

    highest: Extreme
    lowest: Extreme


@dataclass(frozen=True, slots=True, eq=False)
class Deviations:
    """The residuals of n frames, and their deviations from the camera's normal ones: (n,) each."""

    integral: Values
    """Σ |residual| over all pixels, in pixels of full brightness."""
    rms: Values
    """Root mean square of all deviations, in standard deviations."""
    extremes: Extremes


def smooth(residuals: Images) -> Images:
    """Return residuals (n, h, w) averaged twice over the 3 x 3 neighbourhood, with 0 outside the frame.

    This weighs them with a triangle of 5 pixels, the width of the smallest spot that matters.
    """
    smoothed = np.empty(residuals.shape, np.float32)
    smooth_all(np.ascontiguousarray(residuals, np.float32), smoothed)
    return smoothed


def map_residuals(residuals: Images, least: float, quiet_share: float = QUIET_PIXELS) -> ResidualMap:
    """Return median and spread, per pixel, of residuals (n, h, w) of normal frames, by one noise model.

    The spread is robust. A pixel is at least as noisy as its neighbourhood, as the camera's quiet pixels and
    as rounding makes it.

    Args:
        residuals: of pixels or lines, smoothed or not.
        least: standard deviation by rounding alone, > 0, as a share of the reference's peak.
        quiet_share: the share of the pixels or lines that are quiet.
    """
    ranked = np.sort(residuals, axis=0)
    low, median, high = (ranked[round(share * (len(ranked) - 1))] for share in (0.1587, 0.5, 0.8413))
    spread = (high - low) / 2
    around, inside = smooth(np.stack([np.square(spread), np.ones_like(spread)]))
    quiet = max(np.quantile(spread, quiet_share), least)
    sigma = np.maximum(np.maximum(spread, np.sqrt(around / inside)), np.float32(quiet))
    return ResidualMap(median, sigma)


def map_smoothed(residuals: Images, count_of_peak: float) -> ResidualMap:
    """Return the map of smoothed residuals (n, h, w) of normal frames.

    `count_of_peak` is one count of the camera over the peak of its reference.
    """
    return map_residuals(smooth(residuals), SIGMA_OF_SMOOTHED * SIGMA_OF_ROUNDING * count_of_peak)


def measure_residuals(
    images: Images, reconstruction: Images, brightness: Values, residual_map: ResidualMap
) -> Features:
    """Return the scores of images (n, h, w) from their network's reconstruction, as named values (n,).

    `residual` is the report's metric, the integral of |input - reconstruction| (ELI-NP RST-2.3), here in
    pixels of full brightness. `hot_spot` is the largest local excess minus the largest local deficit, both in
    standard deviations of that camera's pixel: a spot has one sign, while a beam that moved or changed its
    size leaves as much deficit as excess. `dark_spot` is the reverse. `…_x` and `…_y` are the position (px),
    and `…_excess` is the size (share of the reference's peak, after smoothing).

    Frames that are fainter than the reference are noisier after normalisation, so their scores are scaled
    down by `brightness` (n,).
    """
    found = measure_deviations(images, reconstruction, residual_map)
    faintness = np.minimum(brightness, 1.0)
    outweighs = (found.extremes.highest.deviation + found.extremes.lowest.deviation) * faintness
    return {
        "residual": found.integral * faintness,
        "hot_spot": outweighs,
        "hot_spot_excess": found.extremes.highest.size,
        "hot_spot_x": found.extremes.highest.x,
        "hot_spot_y": found.extremes.highest.y,
        "dark_spot": -outweighs,
        "dark_spot_excess": -found.extremes.lowest.size,
        "dark_spot_x": found.extremes.lowest.x,
        "dark_spot_y": found.extremes.lowest.y,
    }


def measure_deviations(images: Images, expected: Images, residual_map: ResidualMap) -> Deviations:
    """Measure how images differ from the expected ones, (n, h, w) each.

    Raises:
        ValueError: the shapes of images, expected images and map differ.
    """
    require_shape(images, expected, residual_map)
    table = np.empty((len(images), 8))
    measure_all(
        np.ascontiguousarray(images),
        np.ascontiguousarray(expected),
        residual_map.centre,
        np.reciprocal(residual_map.sigma),
        table,
    )
    return deviations_of(table, residual_map)


def require_shape(images: Images, expected: Images, residual_map: ResidualMap) -> None:
    """Raise ValueError if the shapes of images, expected images and map differ."""
    shape = (len(images), *residual_map.centre.shape)
    if not images.shape == expected.shape == shape:
        raise ValueError(f"images {images.shape} and expected {expected.shape} should be {shape}")


def deviations_of(table: Values, residual_map: ResidualMap) -> Deviations:
    """Return the deviations from a table (n, 8) that `measure_all` filled."""
    return Deviations(
        table[:, 0], np.sqrt(table[:, 1] / residual_map.centre.size), extremes_of(table[:, 2:], residual_map)
    )


def extremes_of(table: Values, residual_map: ResidualMap) -> Extremes:
    """Return the extremes from a table (n, 6): value, row and column of the highest, then of the lowest."""
    highest, hot_y, hot_x, lowest, dark_y, dark_x = table.T
    return Extremes(
        _extreme(highest, hot_y, hot_x, residual_map), _extreme(lowest, dark_y, dark_x, residual_map)
    )


def _extreme(deviation: Values, y: Values, x: Values, residual_map: ResidualMap) -> Extreme:
    sigma = residual_map.sigma[y.astype(np.intp), x.astype(np.intp)]
    return Extreme(deviation, deviation * sigma, x, y)
