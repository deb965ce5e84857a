"""The training set: split by time, normalised per camera.

Neighbouring shots resemble each other. A network that is stopped, and thresholds that are set, by shots from
between those it learned from would be judged too kindly; so each part is a time block of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shotwatch_detector.arrays import Images
from shotwatch_detector.frames import Reference, make_reference, normalise
from shotwatch_detector.statistics import FEWEST_TRAINING
from shotwatch_training.domain.history import CameraHistory, History, Times

TRAINING_SHARE = 0.55
VALIDATION_SHARE = 0.15
"""The rest, 0.3, sets the thresholds."""


class TooLittleData(ValueError):
    """Nothing can be learned from so few shots; the message says how many there are and are needed."""


@dataclass(frozen=True, slots=True)
class Split:
    """Where the time blocks of early stopping and of the thresholds begin, as shares of a device's shots.

    Places are watched at different times and rates, so each device's shots are split for themselves.
    """

    validation: float = TRAINING_SHARE
    calibration: float = TRAINING_SHARE + VALIDATION_SHARE

    def training_shots(self, times: Times) -> slice:
        """Shots to learn from."""
        return slice(0, int(len(times) * self.validation))

    def validation_shots(self, times: Times) -> slice:
        """Shots that say when to stop."""
        return slice(int(len(times) * self.validation), int(len(times) * self.calibration))

    def unlearned_shots(self, times: Times) -> slice:
        """Shots that no network and no pattern was learned from."""
        return slice(int(len(times) * self.validation), len(times))

    def reference_shots(self, times: Times) -> slice:
        """Shots that say what is usual: all before calibration."""
        return slice(0, int(len(times) * self.calibration))

    def calibration_shots(self, times: Times) -> slice:
        """Shots that set the thresholds."""
        return slice(int(len(times) * self.calibration), len(times))


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """What a network is fitted to: normalised images (n, h, w) of all cameras."""

    training: Images
    validation: Images


def usable_references(history: History, split: Split) -> dict[str, Reference]:
    """The reference of every camera with enough frames before and after calibration begins, and a beam.

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


def _reference(camera: CameraHistory, split: Split) -> Reference | None:
    past, later = split.reference_shots(camera.times), split.unlearned_shots(camera.times)
    if past.stop < FEWEST_TRAINING or later.stop - later.start < FEWEST_TRAINING:
        return None
    return make_reference(camera.frames[past])


def image_set(
    cameras: Sequence[CameraHistory], references: dict[str, Reference], split: Split, most: int
) -> ImageSet:
    """At most `most` images, evenly from all cameras and over time."""
    known = [camera for camera in cameras if camera.device in references]
    share = max(1, most // len(known))
    parts = [_images(camera, references[camera.device], split, share) for camera in known]
    training, validation = (np.concatenate(images) for images in zip(*parts, strict=True))
    return ImageSet(training, validation)


def evenly(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Indices of at most `most` of `count` things, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def _images(camera: CameraHistory, reference: Reference, split: Split, most: int) -> tuple[Images, Images]:
    chosen = evenly(len(camera.times), most)
    times, images = camera.times[chosen], normalise(camera.frames[chosen], reference).images
    return images[split.training_shots(times)], images[split.validation_shots(times)]
