"""What is usual of every device: the references and thresholds of its features and scores."""

from collections.abc import Mapping

from shotwatch_detector.arrays import Features
from shotwatch_detector.catalogue import SIGNS
from shotwatch_detector.engine import Engine
from shotwatch_detector.frames import Reference
from shotwatch_detector.scoring import Camera, learn_camera, score_frames
from shotwatch_detector.statistics import Usual, measure_usual
from shotwatch_training.domain.dataset import Split
from shotwatch_training.domain.history import History, Times

UsualOfDevices = dict[str, dict[str, Usual]]
"""Device → feature or score → its reference."""


def learn_cameras(
    history: History, references: Mapping[str, Reference], split: Split, engine: Engine
) -> dict[str, Camera]:
    """What is usual of each camera's residuals under the trained network."""
    return {
        camera.device: learn_camera(
            camera.frames[split.reference_shots(camera.times)], references[camera.device], engine
        )
        for camera in history.cameras
        if camera.device in references
    }


def learn_usual(
    history: History, cameras: Mapping[str, Camera], split: Split, engine: Engine
) -> UsualOfDevices:
    """The references of all features that were measured, and of the scores of all cameras."""
    usual: UsualOfDevices = {}
    for place in history.places:
        for device, features in place.features.items():
            usual[device] = _of_device(features, place.times, split)
    for camera in history.cameras:
        if camera.device in cameras:
            scores = score_frames(camera.frames, cameras[camera.device], engine)
            usual.setdefault(camera.device, {}).update(_of_device(scores, camera.times, split))
    return usual


def _of_device(features: Features, times: Times, split: Split) -> dict[str, Usual]:
    past, later = split.reference_shots(times), split.calibration_shots(times)
    measured = {
        name: measure_usual(values[past], values[later], SIGNS[name])
        for name, values in features.items()
        if name in SIGNS
    }
    return {name: usual for name, usual in measured.items() if usual is not None}
