"""The patterns in which a camera's usual frames differ from each other, and what is left without them.

Principal components tell jitter, drifting modes and speckle from what a usual frame never shows. They know
one camera, where the network knows all; each sees what the other one misses.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Image, Images, Values
from shotwatch_detector.residuals import ResidualMap, map_residuals, smooth

MOST_PATTERNS = 20
FRAMES_PER_PATTERN = 20
"""Of fewer frames a pattern is noise."""
MOST_FRAMES = 800
STRONGEST = 5
"""Patterns that tell how far a frame is from the usual ones as a whole: pointing, size, the first modes."""
KNOWN_SIGMAS = 3.0
"""Frames that are further along one of them have hardly been seen before."""
BEYOND = 3
"""Further out, what the patterns leave grows with at least this power of the distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """What is usual of a camera's normalised frames."""

    mean: Image
    """(h, w)."""
    basis: NDArray[np.float32]
    """(k, h, w), orthonormal, the strongest last."""
    spread: NDArray[np.float32]
    """How much of each pattern usual frames have, standard deviation: (k,)."""
    left: ResidualMap
    """What is usual of the smoothed rest."""

    def rest(self, images: Images) -> tuple[Images, Values]:
        """Normalised images (n, h, w) less the mean and all that the patterns explain.

        And how well the patterns can know such frames, 0 to 1: less beyond three standard deviations along
        one of the strongest.
        """
        basis = self.basis.reshape(len(self.basis), -1)
        flat = (images - self.mean).reshape(len(images), -1)
        amounts = flat @ basis.T
        flat -= amounts @ basis
        distance = np.abs(amounts[:, -STRONGEST:] / self.spread[-STRONGEST:]).max(axis=1, initial=0.0)
        known = np.minimum(1.0, KNOWN_SIGMAS / np.maximum(distance.astype(np.float64), KNOWN_SIGMAS))
        return flat.reshape(images.shape), known**BEYOND


def learn_patterns(images: Images) -> Patterns:
    """The patterns of a camera, from the normalised images (n, h, w) of its usual frames."""
    chosen = images[:: -(-len(images) // MOST_FRAMES)]
    mean = chosen.mean(axis=0)
    flat = (chosen - mean).reshape(len(chosen), -1)
    _, directions = np.linalg.eigh(flat @ flat.T)
    count = min(MOST_PATTERNS, len(chosen) // FRAMES_PER_PATTERN)
    basis = directions[:, len(chosen) - count :].T @ flat
    basis /= np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    spread = np.maximum((flat @ basis.T).std(axis=0), np.finfo(np.float32).tiny)
    found = Patterns(mean, basis.reshape(count, *mean.shape), spread, ResidualMap(mean, mean))
    rest, _ = found.rest(chosen)
    return replace(found, left=map_residuals(smooth(rest)))


def measure_rest(images: Images, brightness: Values, usual: Patterns) -> Features:
    """The scores of normalised images (n, h, w) by what the patterns leave, as named values (n,).

    `excess` and `deficit` are the largest local ones, in standard deviations of that camera's pixel, with
    place (px) and size (share of the reference's peak); `structure` is the rms of all deviations. Frames that
    are fainter than the reference are noisier once normalised, and of frames further out the patterns leave
    more: their scores are scaled down by `brightness` (n,), and by how well they can be known.
    """
    rest, known = usual.rest(images)
    difference = smooth(rest) - usual.left.centre
    deviations = (difference / usual.left.sigma).reshape(len(images), -1)
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
