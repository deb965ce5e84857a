"""The noise of a camera without light, and the separation of light from it.

The report's rule: each pixel of a camera has a normal distribution, known from dark frames, and a pixel that
could be noise with a probability of more than 10⁻⁶ is set to zero. Without dark frames, the unlit part of
each frame is used instead, with one plane and one noise for all of the frame's pixels.
"""

import io
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np
import scipy  # its submodules load at their first use, because they are slow to import
from numpy.typing import NDArray

from shotwatch_physics.background import STEP, UNLIT_SIGMAS, Background, estimate_background
from shotwatch_physics.feature import Light
from shotwatch_physics.moments import Images
from shotwatch_physics.npz import open_npz

NOISE_PROBABILITY = 1e-6
"""The report's p: the probability that a dark pixel counts as lit."""
FEWEST_DARK_FRAMES = 10
"""With fewer frames, the error of a pixel's standard deviation exceeds a quarter. The report uses 50."""
QUIETEST = 1 / np.sqrt(12)
"""Standard deviation (counts) of the rounding to whole counts: the noise of a pixel is at least this."""
PATCH = 5
"""Side (px) of the patches that must be dark in a dark frame. Their median is not affected by hot pixels."""
NOT_A_MODEL = (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, RuntimeError, BadZipFile)
"""Exceptions that numpy raises on bytes that are not an .npz file, or one with other arrays."""


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """A camera's normal distribution per pixel, estimated from `frames` dark frames.

    Hot pixels and fixed patterns are part of it: they have means and standard deviations of their own.

    Raises:
        ValueError: not (h, w) float32 each, not finite, sigma not positive, fewer than ten frames, or p not
            above 0 and at most ½.
    """

    mean: Light
    sigma: Light
    """Sample standard deviation (counts), at least 1/√12."""
    frames: int
    p: float = NOISE_PROBABILITY
    """Probability that a dark pixel counts as lit."""

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("sigma", self.sigma)):
            if values.ndim != 2 or values.dtype != np.float32 or values.shape != self.mean.shape:
                raise ValueError(f"{name} must be (h, w) float32, not {values.shape} {values.dtype}")
            if not values.size or not np.isfinite(values).all():
                raise ValueError(f"{name} must be a finite number for every pixel")
        if (self.sigma <= 0).any():
            raise ValueError("sigma must be positive")
        if self.frames < FEWEST_DARK_FRAMES:
            raise ValueError(f"noise takes at least {FEWEST_DARK_FRAMES} dark frames, not {self.frames}")
        if not 0 < self.p <= 0.5:
            raise ValueError(f"a probability of noise must be above 0 and at most 0.5, not {self.p}")

    def part(self, rows: slice, columns: slice) -> "NoiseModel":
        """Return the model of a part of the camera."""
        return NoiseModel(self.mean[rows, columns], self.sigma[rows, columns], self.frames, self.p)

    def to_npz(self) -> bytes:
        """Return the model as an .npz file; equal models give equal bytes."""
        file = io.BytesIO()
        np.savez(file, mean=self.mean, sigma=self.sigma, frames=np.int64(self.frames), p=np.float64(self.p))
        return file.getvalue()

    @staticmethod
    def from_npz(data: bytes) -> "NoiseModel":
        """Return the model that `to_npz` wrote.

        Raises:
            ValueError: the bytes are not such a file, or its content is not a noise model.
        """
        try:
            with open_npz(data) as file:
                mean, sigma, frames, p = file["mean"], file["sigma"], int(file["frames"]), float(file["p"])
        except NOT_A_MODEL as error:
            raise ValueError(f"not a stored noise model: {error}") from error
        return NoiseModel(mean, sigma, frames, p)


def fit_noise(dark: Images, p: float = NOISE_PROBABILITY) -> NoiseModel:
    """Fit the normal distribution of each pixel in dark frames (n, h, w).

    Raises:
        ValueError: not (n, h, w) uint16, fewer than ten frames, p not above 0 and at most ½, or a frame that
            is not dark: the median of some patch of 5 x 5 px is more than three standard deviations of the
            noise above the background. Light that is even, or a plane, over the whole frame cannot be
            distinguished from the dark level.
    """
    if dark.ndim != 3 or dark.dtype != np.uint16 or 0 in dark.shape[1:]:
        raise ValueError(f"dark frames must be (n, h, w) uint16, not {dark.shape} {dark.dtype}")
    if len(dark) < FEWEST_DARK_FRAMES:
        raise ValueError(f"noise takes at least {FEWEST_DARK_FRAMES} dark frames, not {len(dark)}")
    _require_darkness(dark)
    sigma = np.maximum(dark.std(axis=0, ddof=1), QUIETEST)
    return NoiseModel(dark.mean(axis=0).astype(np.float32), sigma.astype(np.float32), len(dark), p)


def _require_darkness(dark: Images) -> None:
    background = estimate_background(dark)
    brightest = UNLIT_SIGMAS * np.maximum(background.noise, STEP)
    planes = np.broadcast_to(background.plane(*dark.shape[1:]), dark.shape)
    for index, frame in enumerate(dark):
        patches = scipy.ndimage.median_filter(frame, size=PATCH, mode="nearest")
        above = patches - planes[index]
        if above.max() > brightest[index]:
            row, column = np.unravel_index(above.argmax(), above.shape)
            raise ValueError(
                f"frame {index} is not dark: about column {column}, row {row} it has "
                f"{patches[row, column]} counts, its background {background.level[index]:.1f}"
            )


def counts_above_dark(images: Images, noise: NoiseModel | Background) -> Light:
    """Return frames (n, h, w) without the dark level: image - mean, with all noise.

    Raises:
        ValueError: the frames do not have the noise's shape.
    """
    if isinstance(noise, Background):
        mean, fits = noise.plane(*images.shape[-2:]), images.shape[:1] == noise.level.shape
    else:
        mean, fits = noise.mean, images.shape[1:] == noise.mean.shape
    if images.ndim != 3 or not fits:
        raise ValueError(f"frames {images.shape} are not of the noise's shape {mean.shape}")
    return images - mean


def light_of(images: Images, noise: NoiseModel | Background) -> Light:
    """Return frames (n, h, w) without noise: image - mean for counts above the threshold, otherwise 0.

    Raises:
        ValueError: the frames do not have the noise's shape.
    """
    return light_in(counts_above_dark(images, noise), noise)


def light_in(counts: Light, noise: NoiseModel | Background) -> Light:
    """Return counts above dark (n, h, w) where they cannot be noise, and 0 elsewhere."""
    return np.where(counts > margin(noise), counts, np.float32(0))


def margin(noise: NoiseModel | Background) -> Light:
    """Return the amount by which a dark pixel exceeds its mean with the probability p.

    The result is (h, w) for a noise model, and (n, 1, 1) for a background, whose p is 10⁻⁶.

    Mean and sigma of a model are estimates from n frames, so the next dark count is distributed about the
    mean as sigma √(1 + 1/n) times Student's t of n - 1 degrees of freedom. For 50 frames and 10⁻⁶ that is 5.5
    sigma; the 4.75 sigma of a normal distribution would let through ten times as many pixels. A background is
    estimated from so many pixels that its noise, at least one count, counts as exactly known.
    """
    if isinstance(noise, Background):
        return _per_frame(-scipy.special.ndtri(NOISE_PROBABILITY) * np.maximum(noise.noise, STEP))
    sigmas = -scipy.special.stdtrit(noise.frames - 1, noise.p) * np.sqrt(1 + 1 / noise.frames)
    return np.float32(sigmas) * noise.sigma


def _per_frame(values: NDArray[np.float64]) -> Light:
    return values.astype(np.float32)[:, None, None]
