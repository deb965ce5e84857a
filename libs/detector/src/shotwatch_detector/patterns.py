"""The patterns in which a camera's normal frames differ from each other, and what remains without them.

Principal components separate jitter, drifting modes and speckle from what a normal frame never shows. They
describe one camera, while the network describes all cameras. Each finds anomalies that the other misses.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Image, Images, Values
from shotwatch_detector.residuals import ResidualMap, map_residuals, smooth

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

    def rest(self, images: Images) -> tuple[Images, Values]:
        """Return normalised images (n, h, w) minus the mean and everything that the patterns explain.

        The second value is how well the patterns can describe such frames, 0 to 1. It is below 1 for frames
        that are more than three standard deviations out along one of the strongest patterns.
        """
        basis = self.basis.reshape(len(self.basis), -1)
        flat = (images - self.mean).reshape(len(images), -1)
        amounts = flat @ basis.T
        flat -= amounts @ basis
        distance = np.abs(amounts[:, -STRONGEST:] / self.spread[-STRONGEST:]).max(axis=1, initial=0.0)
        known = np.minimum(1.0, KNOWN_SIGMAS / np.maximum(distance.astype(np.float64), KNOWN_SIGMAS))
        return flat.reshape(images.shape), known**BEYOND


def learn_patterns(images: Images) -> Patterns:
    """Return the patterns of a camera, from the normalised images (n, h, w) of its normal frames."""
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
    found = Patterns(mean, basis.reshape(count, *mean.shape), spread, ResidualMap(mean, mean))
    rest, _ = found.rest(chosen)
    return replace(found, left=map_residuals(smooth(rest)))


def measure_rest(images: Images, brightness: Values, patterns: Patterns) -> Features:
    """Return the scores of normalised images (n, h, w) by what the patterns leave, as named values (n,).

    `excess` and `deficit` are the largest local ones, in standard deviations of that camera's pixel, with
    position (px) and size (share of the reference's peak). `structure` is the rms of all deviations.

    Frames that are fainter than the reference are noisier after normalisation, so scores are scaled down by
    `brightness` (n,). Of frames further out the patterns leave more, so scores are also scaled down by how
    well the patterns can describe the frame.
    """
    rest, known = patterns.rest(images)
    difference = smooth(rest) - patterns.left.centre
    deviations = (difference / patterns.left.sigma).reshape(len(images), -1)
    faintness = np.minimum(brightness, 1.0) * known
    return {
        "structure": np.sqrt(np.square(deviations).mean(axis=1, dtype=np.float64)) * faintness,
        **_extreme("excess", deviations, difference, faintness),
        **_extreme("deficit", -deviations, -difference, faintness),
    }


def _extreme(name: str, deviations: Images, difference: Images, faintness: Values) -> dict[str, Values]:
    shots, pixels = np.arange(len(deviations)), deviations.argmax(axis=1)
    y, x = np.divmod(pixels, difference.shape[2])
    return {
        name: deviations[shots, pixels] * faintness,
        f"{name}_size": difference[shots, y, x].astype(np.float64),
        f"{name}_x": x.astype(np.float64),
        f"{name}_y": y.astype(np.float64),
    }
