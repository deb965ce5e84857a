"""Normalisation of frames: each is fitted to its camera's reference frame. This removes the energy of the
shot and the camera's dark level.
"""

from dataclasses import dataclass

import numpy as np

from shotwatch_detector.arrays import Frames, Image, Images, Values

DARK_QUANTILE = 0.05
"""This share of a reference frame's pixels is darker than the dark level."""
SMALLEST_GAIN = 0.02
"""Fainter frames (share of the reference's peak) are not amplified further, because they hold only noise."""
FAINTEST_BEAM = 10.0
"""Least counts between the dark level and the peak of a mean frame that shows a beam."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFrame:
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
    """Brightness of each frame, reference = 1: (n,)."""


def make_reference(frames: Frames) -> ReferenceFrame | None:
    """Return the reference of a camera from its normal frames (n, h, w), or None if they show no beam."""
    mean = frames.mean(axis=0, dtype=np.float64)
    dark, peak = np.quantile(mean, DARK_QUANTILE), mean.max()
    if peak - dark < FAINTEST_BEAM:
        return None
    return ReferenceFrame(((mean - dark) / (peak - dark)).astype(np.float32), float(peak - dark))


def normalise(frames: Frames, reference: ReferenceFrame) -> Normalised:
    """Remove from each frame the gain and the offset of its best fit to the reference.

    It is a least-squares fit of `frame = gain x reference + offset`. A hot spot of a few pixels hardly
    changes a fit to 13,000 pixels. Dividing by the frame's sum instead would include the dark level, dividing
    by its peak would include the hot spot.
    """
    counts = frames.astype(np.float32)
    pattern = reference.image - reference.image.mean()
    gain = np.tensordot(counts, pattern / np.vdot(pattern, pattern), axes=2)
    offset = counts.mean(axis=(1, 2)) - gain * reference.image.mean()
    gain = np.maximum(gain, np.float32(SMALLEST_GAIN * reference.peak))
    images = (counts - offset[:, None, None]) / gain[:, None, None]
    return Normalised(images, gain.astype(np.float64) / reference.peak)
