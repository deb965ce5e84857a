"""The data for training a network: split by time, normalised per camera.

Neighbouring shots resemble each other. If the shots for early stopping and for the thresholds lay between the
training shots, they would give results that are too good. Each part is therefore a time block of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shotwatch_detector.arrays import Images
from shotwatch_detector.frames import ReferenceFrame, make_reference, normalise
from shotwatch_detector.statistics import FEWEST_TRAINING
from shotwatch_training.domain.history import CameraHistory, History, Times

TRAINING_SHARE = 0.55
VALIDATION_SHARE = 0.15
"""Shares of a device's shots; the remaining 0.3 are used for the thresholds."""


class TooLittleData(ValueError):
    """There are too few shots to learn from; the message gives how many there are and how many are needed."""


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """The beginnings of the time blocks for early stopping and for thresholds, as shares of a device's shots.

    Each device's shots are split separately, because places record at different times and rates.
    """

    validation: float = TRAINING_SHARE
    calibration: float = TRAINING_SHARE + VALIDATION_SHARE

    def training_shots(self, times: Times) -> slice:
        """Return the shots to train on."""
        return slice(0, int(len(times) * self.validation))

    def validation_shots(self, times: Times) -> slice:
        """Return the shots that decide when training stops."""
        return slice(int(len(times) * self.validation), int(len(times) * self.calibration))

    def unlearned_shots(self, times: Times) -> slice:
        """Return the shots from which neither a network nor a pattern was learned."""
        return slice(int(len(times) * self.validation), len(times))

    def reference_shots(self, times: Times) -> slice:
        """Return the shots from which the references are computed: all before calibration."""
        return slice(0, int(len(times) * self.calibration))

    def calibration_shots(self, times: Times) -> slice:
        """Return the shots from which the thresholds are computed."""
        return slice(int(len(times) * self.calibration), len(times))


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """The images to which a network is fitted: normalised images (n, h, w) of all cameras."""

    training: Images
    validation: Images


def usable_references(history: History, split: TimeSplit) -> dict[str, ReferenceFrame]:
    """Return the references of cameras with a beam and enough frames before calibration and after training.

    Raises:
        TooLittleData: there is no such camera.
    """
    found = {camera.device: _reference(camera, split) for camera in history.cameras}
    references = {device: reference for device, reference in found.items() if reference is not None}
    if not references:
        raise TooLittleData(
            f"none of {len(found)} cameras has {FEWEST_TRAINING} frames of a beam to learn from "
            f"and as many later ones"
        )
    return references


def _reference(camera: CameraHistory, split: TimeSplit) -> ReferenceFrame | None:
    past, later = split.reference_shots(camera.times), split.unlearned_shots(camera.times)
    if past.stop < FEWEST_TRAINING or later.stop - later.start < FEWEST_TRAINING:
        return None
    return make_reference(camera.frames[past])


def image_set(
    cameras: Sequence[CameraHistory], references: dict[str, ReferenceFrame], split: TimeSplit, most: int
) -> ImageSet:
    """Return `most` images at most, evenly from all cameras and over time."""
    known = [camera for camera in cameras if camera.device in references]
    share = max(1, most // len(known))
    parts = [_images(camera, references[camera.device], split, share) for camera in known]
    training, validation = (np.concatenate(images) for images in zip(*parts, strict=True))
    return ImageSet(training, validation)


def evenly(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return `most` indices at most of `count` things, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def _images(
    camera: CameraHistory, reference: ReferenceFrame, split: TimeSplit, most: int
) -> tuple[Images, Images]:
    chosen = evenly(len(camera.times), most)
    times, images = camera.times[chosen], normalise(camera.frames[chosen], reference).images
    return images[split.training_shots(times)], images[split.validation_shots(times)]
