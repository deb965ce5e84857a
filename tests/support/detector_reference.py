"""The scores of frames in plain NumPy: what the compiled functions of `shotwatch_detector` are compared with.

One array operation for each step, in the order of the formulas; written before the compiled functions.
"""

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Frames, Images, Values
from shotwatch_detector.engine import Engine
from shotwatch_detector.frames import SMALLEST_GAIN, ReferenceFrame
from shotwatch_detector.patterns import BEYOND, KNOWN_SIGMAS, STRONGEST, Patterns
from shotwatch_detector.residuals import ResidualMap
from shotwatch_detector.scoring import CameraReference


def score_frames(frames: Frames, camera: CameraReference, engine: Engine) -> Features:
    """Return the scores of frames (n, h, w) of one camera, as named values (n,)."""
    images, brightness = normalise(frames, camera.reference)
    return {
        **measure_residuals(images - engine.reconstruct(images), brightness, camera.residuals),
        **measure_rest(images, brightness, camera.patterns),
    }


def normalise(frames: Frames, reference: ReferenceFrame) -> tuple[Images, Values]:
    """Return images (n, h, w) and brightness (n,)."""
    counts = frames.astype(np.float32)
    pattern = reference.image - reference.image.mean()
    gain = np.tensordot(counts, pattern / np.vdot(pattern, pattern), axes=2)
    offset = counts.mean(axis=(1, 2)) - gain * reference.image.mean()
    gain = np.maximum(gain, np.float32(SMALLEST_GAIN * reference.peak))
    return (counts - offset[:, None, None]) / gain[:, None, None], gain.astype(np.float64) / reference.peak


def smooth(residuals: Images) -> Images:
    """Return residuals (n, h, w) averaged twice over the 3 x 3 neighbourhood, with 0 outside the frame."""
    for axis in (1, 2, 1, 2):
        residuals = _mean_of_three(residuals, axis)
    return residuals


def _mean_of_three(images: Images, axis: int) -> Images:
    total = images.copy()
    along, source = total.swapaxes(1, axis), images.swapaxes(1, axis)
    along[:, 1:] += source[:, :-1]
    along[:, :-1] += source[:, 1:]
    total /= 3
    return total


def deviations(residuals: Images, residual_map: ResidualMap) -> Images:
    """Return the deviations of smoothed residuals (n, h, w) in standard deviations of each pixel."""
    return (smooth(residuals) - residual_map.centre) / residual_map.sigma


def measure_residuals(residuals: Images, brightness: Values, residual_map: ResidualMap) -> Features:
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


def rest(images: Images, patterns: Patterns) -> tuple[Images, Values]:
    """Return what the patterns leave of images (n, h, w), and how well they can describe them (n,)."""
    basis = patterns.basis.reshape(len(patterns.basis), -1)
    flat = (images - patterns.mean).reshape(len(images), -1)
    amounts = flat @ basis.T
    flat -= amounts @ basis
    distance = np.abs(amounts[:, -STRONGEST:] / patterns.spread[-STRONGEST:]).max(axis=1, initial=0.0)
    known = np.minimum(1.0, KNOWN_SIGMAS / np.maximum(distance.astype(np.float64), KNOWN_SIGMAS))
    return flat.reshape(images.shape), known**BEYOND


def measure_rest(images: Images, brightness: Values, patterns: Patterns) -> Features:
    left, known = rest(images, patterns)
    difference = smooth(left) - patterns.left.centre
    deviations = (difference / patterns.left.sigma).reshape(len(images), -1)
    faintness = np.minimum(brightness, 1.0) * known
    return {
        "structure": np.sqrt(np.square(deviations).mean(axis=1, dtype=np.float64)) * faintness,
        **_extreme("excess", deviations, difference, faintness),
        **_extreme("deficit", -deviations, -difference, faintness),
        **_fine("pixel", left - smooth(left), patterns.fine.pixels, faintness, "xy"),
        **_fine("column", _contrast(left.mean(axis=1))[:, np.newaxis], patterns.fine.columns, faintness, "x"),
        **_fine("row", _contrast(left.mean(axis=2))[:, :, np.newaxis], _upright(patterns), faintness, "y"),
    }


def _contrast(lines: Images) -> Images:
    """Return lines (n, m) less the mean of the two values on each side; the ends are repeated."""
    padded = np.pad(lines, ((0, 0), (2, 2)), mode="edge")
    beside = padded[:, :-4] + padded[:, 1:-3] + padded[:, 3:-1] + padded[:, 4:]
    return lines - beside / 4


def _upright(patterns: Patterns) -> ResidualMap:
    return ResidualMap(patterns.fine.rows.centre.T, patterns.fine.rows.sigma.T)


def _fine(
    what: str, values: Images, residual_map: ResidualMap, faintness: Values, axes: str
) -> dict[str, Values]:
    difference = values - residual_map.centre
    deviations = (difference / residual_map.sigma).reshape(len(values), -1)
    both = {
        **_extreme(f"{what}_excess", deviations, difference, faintness),
        **_extreme(f"{what}_deficit", -deviations, -difference, faintness),
    }
    unknown = {f"{what}_{side}_{axis}" for side in ("excess", "deficit") for axis in "xy" if axis not in axes}
    return {name: of for name, of in both.items() if name not in unknown}


def _extreme(name: str, deviations: Images, difference: Images, faintness: Values) -> dict[str, Values]:
    shots, pixels = np.arange(len(deviations)), deviations.argmax(axis=1)
    y, x = np.divmod(pixels, difference.shape[2])
    return {
        name: deviations[shots, pixels] * faintness,
        f"{name}_size": difference[shots, y, x].astype(np.float64),
        f"{name}_x": x.astype(np.float64),
        f"{name}_y": y.astype(np.float64),
    }
