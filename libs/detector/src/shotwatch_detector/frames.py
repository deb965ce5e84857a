"""Normalisation of frames: each is fitted to its camera's reference frame. This removes the energy of the
shot and the camera's dark level.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from shotwatch_detector.arrays import Frame, Frames, Image, Images, Values
from shotwatch_physics.moments import read_only

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

    Raises:
        ValueError: the frames do not have the shape of the reference.
    """
    if frames.shape[1:] != reference.image.shape:
        raise ValueError(f"frames {frames.shape} do not fit a reference {reference.image.shape}")
    mean = reference.image.mean(dtype=np.float64)
    pattern = reference.image - mean
    images, gains = np.empty(frames.shape, np.float32), np.empty(len(frames))
    faintest = SMALLEST_GAIN * reference.peak
    _scale_all(read_only(frames), pattern / np.square(pattern).sum(), mean, faintest, images, gains)
    return Normalised(images, gains / reference.peak)


@njit(cache=True, nogil=True)
def _scale_all(
    frames: Frames, weights: Values, mean: float, faintest: float, images: Images, gains: Values
) -> None:
    """Fill images (n, h, w) and gains (n,); `weights` and `mean` are those of the reference."""
    for index in range(len(frames)):
        gain, offset = _fit(frames[index], weights, mean)
        gains[index] = max(gain, faintest)
        _scale(frames[index], np.float32(offset), np.float32(1 / gains[index]), images[index])


@njit(cache=True, nogil=True)
def _fit(frame: Frame, weights: Values, mean: float) -> tuple[float, float]:
    """Return gain and offset of the least-squares fit of frame = gain x reference + offset.

    gain = Σ w I with w = (r - r̄) / Σ (r - r̄)², and offset = Ī - gain r̄. There is one sum for each column, so
    that the order of additions is the same on every processor.
    """
    height, width = frame.shape
    light, along = np.zeros(width, np.uint32), np.zeros(width)
    for row in range(height):
        counts, weight = frame[row], weights[row]
        for column in range(width):
            light[column] += counts[column]
            along[column] += counts[column] * weight[column]
    gain = along.sum()
    return gain, light.sum() / (height * width) - gain * mean


@njit(cache=True, nogil=True)
def _scale(frame: Frame, offset: np.float32, factor: np.float32, image: Image) -> None:
    """Fill the image (h, w): (counts - offset) x factor."""
    for row in range(frame.shape[0]):
        counts, target = frame[row], image[row]
        for column in range(frame.shape[1]):
            target[column] = (np.float32(counts[column]) - offset) * factor
