"""The patterns in which a camera's normal frames differ from each other, and what remains without them.

Principal components separate jitter, drifting modes and speckle from what a normal frame never shows. They
describe one camera, while the network describes all cameras. Each finds anomalies that the other misses.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Image, Images, Values
from shotwatch_detector.fine_structure import FineMaps, map_fine, measure_structure, no_fine_maps
from shotwatch_detector.residuals import Extremes, ResidualMap, map_smoothed

MOST_PATTERNS = 20
FRAMES_PER_PATTERN = 20
"""A pattern that is learned from fewer frames is noise."""
MOST_FRAMES = 800
STRONGEST = 5
"""Number of strongest patterns by which the distance of a whole frame from the normal ones is measured:
pointing, size and the first modes.
"""
KNOWN_SIGMAS = 3.0
"""Frames further out along one of these patterns were hardly ever seen in training."""
BEYOND = 3
"""Further out, the rest that the patterns leave grows with at least this power of the distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """The normal variation of a camera's normalised frames."""

    mean: Image
    """(h, w)."""
    basis: NDArray[np.float32]
    """(k, h, w), orthonormal, the strongest last."""
    spread: NDArray[np.float32]
    """Standard deviation of the amount of each pattern in normal frames: (k,)."""
    left: ResidualMap
    """Centre and spread of the smoothed rest of normal frames."""
    fine: FineMaps
    """Centre and spread of its single pixels, columns and rows."""

    def rest(self, images: Images) -> Images:
        """Return normalised images (n, h, w) minus the mean and everything that the patterns explain."""
        centred = images - self.mean
        explained, _ = self.explain(centred)
        return centred - explained

    def explain(self, centred: Images) -> tuple[Images, Values]:
        """Return what the patterns explain of images (n, h, w) from which the mean was subtracted.

        The second value is how well the patterns can describe such frames, 0 to 1. It is below 1 for frames
        that are more than three standard deviations out along one of the strongest patterns.
        """
        basis = self.basis.reshape(len(self.basis), -1)
        amounts = centred.reshape(len(centred), -1) @ basis.T
        distance = np.abs(amounts[:, -STRONGEST:] / self.spread[-STRONGEST:]).max(axis=1, initial=0.0)
        known = np.minimum(1.0, KNOWN_SIGMAS / np.maximum(distance.astype(np.float64), KNOWN_SIGMAS))
        explained: Images = np.matmul(amounts, basis).reshape(centred.shape)
        return explained, known**BEYOND


def learn_patterns(images: Images, count_of_peak: float) -> Patterns:
    """Return the patterns of a camera, from the normalised images (n, h, w) of its normal frames.

    `count_of_peak` is one count of the camera over the peak of its reference.
    """
    chosen = images[:: -(-len(images) // MOST_FRAMES)]
    mean = chosen.mean(axis=0)
    flat = (chosen - mean).reshape(len(chosen), -1)
    # The (n, n) matrix of scalar products gives the principal components of n frames, and is much smaller
    # than the covariance of their pixels. `eigh` sorts ascending, so the strongest pattern is the last.
    _, directions = np.linalg.eigh(flat @ flat.T)
    count = min(MOST_PATTERNS, len(chosen) // FRAMES_PER_PATTERN)
    basis = directions[:, len(chosen) - count :].T @ flat
    basis /= np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    spread = np.maximum((flat @ basis.T).std(axis=0), np.finfo(np.float32).tiny)
    unmapped = ResidualMap(mean, mean), no_fine_maps(*mean.shape)
    found = Patterns(mean, basis.reshape(count, *mean.shape), spread, *unmapped)
    rest = found.rest(chosen)
    return replace(found, left=map_smoothed(rest, count_of_peak), fine=map_fine(rest, count_of_peak))


def measure_rest(images: Images, brightness: Values, patterns: Patterns) -> Features:
    """Return the scores of normalised images (n, h, w) by what the patterns leave, as named values (n,).

    `excess` and `deficit` are the largest local ones, in standard deviations of that camera's pixel, with
    position (px) and size (share of the reference's peak). `pixel_…`, `column_…` and `row_…` are those of
    single pixels and lines, compared with the ones beside them. `structure` is the rms of all deviations.

    Frames that are fainter than the reference are noisier after normalisation, so scores are scaled down by
    `brightness` (n,). Of frames further out the patterns leave more, so scores are also scaled down by how
    well the patterns can describe the frame.
    """
    centred = images - patterns.mean
    explained, known = patterns.explain(centred)
    found, fine = measure_structure(centred, explained, patterns.left, patterns.fine)
    faintness = np.minimum(brightness, 1.0) * known
    return {
        "structure": found.rms * faintness,
        **_named("", found.extremes, faintness, "xy"),
        **_named("pixel_", fine.pixels, faintness, "xy"),
        **_named("column_", fine.columns, faintness, "x"),
        **_named("row_", fine.rows, faintness, "y"),
    }


def _named(prefix: str, extremes: Extremes, faintness: Values, axes: str) -> dict[str, Values]:
    """Return score, size and position of the largest excess and of the largest deficit."""
    named = {}
    for what, direction, extreme in (("excess", 1.0, extremes.highest), ("deficit", -1.0, extremes.lowest)):
        name = f"{prefix}{what}"
        named[name] = direction * extreme.deviation * faintness
        named[f"{name}_size"] = direction * extreme.size
        named |= {f"{name}_{axis}": getattr(extreme, axis) for axis in axes}
    return named
