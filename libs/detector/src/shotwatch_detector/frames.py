"""Frames made comparable: each is fitted to its camera's reference frame, so that neither the energy of a
shot nor the camera's dark level is left in its profile."""

from dataclasses import dataclass

import numpy as np

from shotwatch_detector.arrays import Frames, Image, Images, Values

DARK_QUANTILE = 0.05
"""This share of a reference frame's pixels is darker than its dark level."""
SMALLEST_GAIN = 0.02
"""Fainter frames (share of the reference's peak) are not amplified further: they hold noise only."""
FAINTEST_BEAM = 10.0
"""Counts from the dark level to the peak of a mean frame that shows a beam."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The mean frame of a camera: (h, w), dark level 0, peak 1."""

    image: Image
    peak: float
    """Counts between the dark level and the peak."""


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """Frames on the scale of their camera's reference."""

    images: Images
    """(n, h, w)."""
    brightness: Values
    """How bright each frame is, reference = 1: (n,)."""


def make_reference(frames: Frames) -> Reference | None:
    """The reference of a camera from its normal frames (n, h, w); None when there is no beam in them."""
    mean = frames.mean(axis=0, dtype=np.float64)
    dark, peak = np.quantile(mean, DARK_QUANTILE), mean.max()
    if peak - dark < FAINTEST_BEAM:
        return None
    return Reference(((mean - dark) / (peak - dark)).astype(np.float32), float(peak - dark))


def normalise(frames: Frames, reference: Reference) -> Normalised:
    """Frames with the gain and the offset removed that fit them best to the reference.

    Least squares of `frame = gain x reference + offset`. A hot spot of a few pixels hardly moves a fit to
    13,000; dividing by the frame's sum would let the dark level in, dividing by its peak the hot spot.
    """
    counts = frames.astype(np.float32)
    pattern = reference.image - reference.image.mean()
    gain = np.tensordot(counts, pattern / np.vdot(pattern, pattern), axes=2)
    offset = counts.mean(axis=(1, 2)) - gain * reference.image.mean()
    gain = np.maximum(gain, np.float32(SMALLEST_GAIN * reference.peak))
    images = (counts - offset[:, None, None]) / gain[:, None, None]
    return Normalised(images, gain.astype(np.float64) / reference.peak)
