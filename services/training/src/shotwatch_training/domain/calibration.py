"""Calibration: the references and thresholds of the features and scores of every device."""

from collections import defaultdict
from collections.abc import Mapping

from shotwatch_detector.arrays import Features
from shotwatch_detector.engine import Engine
from shotwatch_detector.evidence import distinct_frames, independent_blocks
from shotwatch_detector.frames import ReferenceFrame
from shotwatch_detector.scoring import CameraReference, learn_camera, score_frames
from shotwatch_detector.statistics import Baseline, measure_baseline
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_training.domain.history import History
from shotwatch_training.domain.members import DeviceBaselines, DeviceValues, with_members
from shotwatch_training.domain.split import TimeSplit


def learn_cameras(
    history: History, references: Mapping[str, ReferenceFrame], split: TimeSplit, engine: Engine
) -> dict[str, CameraReference]:
    """Return each camera's normal residuals under the trained network."""
    return {
        camera.device: learn_camera(
            camera.frames[split.training_shots(camera.times)], references[camera.device], engine
        )
        for camera in history.cameras
        if camera.device in references
    }


def learn_baselines(
    history: History, cameras: Mapping[str, CameraReference], split: TimeSplit, engine: Engine
) -> DeviceBaselines:
    """Return the references of all measured features, and of the scores of all cameras.

    Residuals of frames from which patterns were learned are smaller than those of other frames. The
    references of scores are therefore computed from later frames.
    """
    independent = _independent_shots(history, cameras)
    baselines: DeviceBaselines = {}
    measured: dict[str, list[DeviceValues]] = defaultdict(list)
    for place in history.places:
        for device, features in place.features.items():
            past, later = split.reference_shots(place.times), split.calibration_shots(place.times)
            baselines[device] = _of_device(features, past, later, independent[device])
            measured[device].append(DeviceValues.part(device, place.times, features, later))
    for camera in history.cameras:
        if camera.device in cameras:
            scores = score_frames(camera.frames, cameras[camera.device], engine)
            unlearned, later = split.unlearned_shots(camera.times), split.calibration_shots(camera.times)
            baselines.setdefault(camera.device, {}).update(
                _of_device(scores, unlearned, later, independent[camera.device])
            )
            measured[camera.device].append(DeviceValues.part(camera.device, camera.times, scores, later))
    for place in history.places:
        baselines |= with_members(baselines, [each for device in place.features for each in measured[device]])
    return baselines


def _independent_shots(history: History, cameras: Mapping[str, CameraReference]) -> dict[str, int]:
    """Return device → how many independent shots its place has shown.

    A camera counts its own frames. For a device without frames, the camera counts that saw most. Without a
    camera, its place's time blocks are all that is known.
    """
    frames = {
        camera.device: min(
            distinct_frames(camera.frames, cameras[camera.device].reference),
            independent_blocks(camera.times),
        )
        for camera in history.cameras
        if camera.device in cameras
    }
    for place in history.places:
        seen = [frames[device] for device in place.features if device in frames]
        most = min([independent_blocks(place.times), *([max(seen)] if seen else [])])
        frames |= {device: most for device in place.features if device not in frames}
    return frames


def _of_device(features: Features, centre: slice, tail: slice, independent: int) -> dict[str, Baseline]:
    measured = {
        name: measure_baseline(values[centre], values[tail], INDICATORS[name], independent)
        for name, values in features.items()
        if name in INDICATORS
    }
    return {name: baseline for name, baseline in measured.items() if baseline is not None}
