"""The residual of an image after its reconstruction is subtracted, and where it is most anomalous."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Image, Images, Values

SMOOTHING_PASSES = 2
"""Two means over 3 x 3 pixels: a triangle of 5 pixels, the width of the smallest spot that matters."""
SMALLEST_SIGMA = 0.002
"""Share of the reference's peak. Smaller standard deviations of a pixel's residual are set to this value."""


@dataclass(frozen=True, slots=True, eq=False)
class ResidualMap:
    """Centre and spread of the smoothed residual at each pixel of a camera: (h, w) each."""

    centre: Image
    sigma: Image


def smooth(residuals: Images) -> Images:
    """Return residuals (n, h, w) averaged twice over the 3 x 3 neighbourhood, with 0 outside the frame."""
    for axis in (1, 2) * SMOOTHING_PASSES:
        residuals = _mean_of_three(residuals, axis)
    return residuals


def _mean_of_three(images: Images, axis: int) -> Images:
    total = images.copy()
    along, source = total.swapaxes(1, axis), images.swapaxes(1, axis)
    along[:, 1:] += source[:, :-1]
    along[:, :-1] += source[:, 1:]
    total /= 3
    return total


def map_residuals(smoothed: Images) -> ResidualMap:
    """Return median and robust spread, per pixel, of smoothed residuals (n, h, w) of normal frames."""
    ranked = np.sort(smoothed, axis=0)
    low, median, high = (ranked[round(share * (len(ranked) - 1))] for share in (0.1587, 0.5, 0.8413))
    return ResidualMap(median, np.maximum((high - low) / 2, np.float32(SMALLEST_SIGMA)))


def measure_residuals(residuals: Images, brightness: Values, residual_map: ResidualMap) -> Features:
    """Return the scores of frames from their residuals (n, h, w), as named values (n,).

    `residual` is the report's metric, the integral of |input - reconstruction| (ELI-NP RST-2.3), here in
    pixels of full brightness. `hot_spot` is the largest local excess minus the largest local deficit, both in
    standard deviations of that camera's pixel: a spot has one sign, while a beam that moved or changed its
    size leaves as much deficit as excess. `dark_spot` is the reverse. `…_x` and `…_y` are the position (px),
    and `…_excess` is the size (share of the reference's peak, after smoothing).

    Frames that are fainter than the reference are noisier after normalisation, so their scores are scaled
    down by `brightness` (n,).
    """
    difference = smooth(residuals) - residual_map.centre
    deviations = (difference / residual_map.sigma).reshape(len(residuals), -1)
    shots, faintness = np.arange(len(residuals)), np.minimum(brightness, 1.0)
    hottest, darkest = deviations.argmax(axis=1), deviations.argmin(axis=1)
    outweighs = (deviations[shots, hottest] + deviations[shots, darkest]) * faintness
    return {
        "residual": np.abs(residuals).sum(axis=(1, 2), dtype=np.float64) * faintness,
        "hot_spot": outweighs,
        **_whereabouts("hot_spot", hottest, difference),
        "dark_spot": -outweighs,
        **_whereabouts("dark_spot", darkest, -difference),
    }


def _whereabouts(name: str, pixels: NDArray[np.intp], difference: Images) -> dict[str, Values]:
    y, x = np.divmod(pixels, difference.shape[2])
    return {
        f"{name}_excess": difference[np.arange(len(pixels)), y, x].astype(np.float64),
        f"{name}_x": x.astype(np.float64),
        f"{name}_y": y.astype(np.float64),
    }
