"""A detector trained on a simulated place: what it finds in later shots, and what it leaves alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_detector.bundle import Bundle, Origin
from shotwatch_detector.decision import Judgement
from shotwatch_detector.detector import Detector
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.spectrum import measure_spectra
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.anomalies import Injection, Kind
from shotwatch_simulator.devices import SimulatedLaser, simulated
from shotwatch_simulator.injections import inject
from shotwatch_training.domain.calibration import learn_baselines, learn_cameras
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.domain.split import TimeSplit, image_set, usable_references
from shotwatch_training.models.architectures import ARCHITECTURES
from shotwatch_training.models.conversion import convert
from shotwatch_training.models.fitting import fit
from shotwatch_training.settings import ArchitectureName, Hyperparameters

pytestmark = pytest.mark.slow

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
EXPECTED = next(expected for expected in FACILITY.places if str(expected.place) == "LA-A1-11")
DEVICES = tuple(
    f"LA_A1_11-{name}"
    for name in ("Camera_1-Camera-1", "Camera_2-Camera-2", "EM_1-EnergyMeter-1", "Spectro_1-Spectro-1")
)
START, PERIOD = 1_656_660_780_000, 100
LEARNING, WATCHING, BATCH = 400, 2400, 600
LATER = START + PERIOD * (LEARNING + WATCHING)


@dataclass(frozen=True)
class Records:
    """What the devices of the place record at some pulses."""

    frames: Mapping[str, np.ndarray]
    features: Mapping[str, Mapping[str, np.ndarray]]


def record(pulses: np.ndarray, *injections: Injection) -> Records:
    laser = SimulatedLaser(FACILITY, 7, injections)
    frames, features = {}, {}
    for device in DEVICES:
        data = list(simulated(laser, device, pulses).values())
        match laser.device(device).kind:
            case DeviceKind.CAMERA:
                frames[device], features[device] = (
                    data[0],
                    measure_beams(data[0], FACILITY.frames.saturated_at),
                )
            case DeviceKind.SPECTRO:
                features[device] = measure_spectra(data[0])
            case DeviceKind.ENERGY_METER:
                features[device] = measure_energies(data[0][:, 0], data[1][:, 0])
    return Records(frames, features)


def watch(detector: Detector, records: Records) -> Judgement:
    everything = {
        device: {
            **features,
            **(detector.score(device, records.frames[device]) if device in records.frames else {}),
        }
        for device, features in records.features.items()
    }
    shots = len(next(iter(records.features[DEVICES[0]].values())))
    return detector.judge("LA A1 11", everything, shots)


@pytest.fixture(scope="module")
def detector() -> Detector:
    pulses = START + PERIOD * np.arange(LEARNING)
    past = record(pulses)
    history = History(
        (PlaceHistory("LA-A1-11", pulses, dict(past.features)),),
        tuple(CameraHistory(device, pulses, frames) for device, frames in past.frames.items()),
    )
    split = TimeSplit()
    references = usable_references(history, split)
    images = image_set(history.cameras, references, split, 1000)
    fitted = fit(ArchitectureName.STRIDED, images, 6, 60, 1, lambda _: None, Hyperparameters())
    engine = LiteRtEngine(convert(fitted.model))
    cameras = learn_cameras(history, references, split, engine)
    baselines = learn_baselines(history, cameras, split, engine)
    return Detector(Bundle(Origin("HPLS", "strided", "test", 0, 0, 0), b"", cameras, baselines), engine)


def test_more_than_two_thousand_normal_shots_raise_no_alarm(detector: Detector) -> None:
    for batch in range(LEARNING, LEARNING + WATCHING, BATCH):
        judgement = watch(detector, record(START + PERIOD * np.arange(batch, batch + BATCH)))
        assert [finding.why for finding in judgement.findings] == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.HOT_SPOT, AnomalyKind.HOT_SPOT),
        (Kind.DARK_SPOT, AnomalyKind.PROFILE),
        (Kind.ENERGY_DROP, AnomalyKind.ENERGY),
        (Kind.LOW_BANDWIDTH, AnomalyKind.BANDWIDTH),
        (Kind.WAVELENGTH_SHIFT, AnomalyKind.WAVELENGTH),
        (Kind.SPECTRUM_LOSS, AnomalyKind.SPECTRUM),
        (Kind.POINTING_STEP, AnomalyKind.POINTING),
        (Kind.DEFOCUS, AnomalyKind.BEAM_SIZE),
    ],
)
def test_each_gross_anomaly_is_one_finding_of_its_kind(
    kind: Kind, expected: AnomalyKind, detector: Detector
) -> None:
    for n in range(5):
        pulse = LATER + n * PERIOD
        records = record(np.array([pulse]), inject(FACILITY, EXPECTED, kind, pulse))
        assert [finding.kind for finding in watch(detector, records).findings] == [expected]


def test_a_hot_spot_is_found_where_it_was_put(detector: Detector) -> None:
    camera = DEVICES[0]
    anomalous = record(np.array([LATER]), inject(FACILITY, EXPECTED, Kind.HOT_SPOT, LATER, device=camera))
    difference = anomalous.frames[camera][0].astype(int) - record(np.array([LATER])).frames[camera][0]
    y, x = np.unravel_index(difference.argmax(), difference.shape)
    scores = detector.score(camera, anomalous.frames[camera])
    assert np.hypot(scores["hot_spot_x"][0] - x, scores["hot_spot_y"][0] - y) <= 2


def test_a_reconstruction_is_the_same_in_batches_of_every_size() -> None:
    keras.utils.set_random_seed(2)
    engine = LiteRtEngine(convert(ARCHITECTURES[ArchitectureName.STRIDED].build(102, 128, Hyperparameters())))
    images = np.random.default_rng(3).normal(0.5, 0.3, (32, 102, 128)).astype(np.float32)
    together = engine.reconstruct(images)
    for cut in (1, 5, 31):
        parts = [engine.reconstruct(images[:cut]), engine.reconstruct(images[cut:])]
        np.testing.assert_allclose(np.concatenate(parts), together, rtol=0, atol=1e-6)


def test_a_frame_scores_the_same_alone_and_among_others(detector: Detector) -> None:
    camera = DEVICES[0]
    frames = record(LATER + PERIOD * np.arange(70)).frames[camera]
    together, alone = detector.score(camera, frames), detector.score(camera, frames[40:41])
    for name, values in alone.items():
        assert values[0] == pytest.approx(together[name][40], rel=1e-3, abs=1e-3)


def test_a_camera_that_training_never_saw_has_no_scores(detector: Detector) -> None:
    assert detector.score("LA_A1_11-Camera_9-Camera-9", np.zeros((3, 102, 128), np.uint16)) == {}


@pytest.mark.parametrize("name", ArchitectureName)
@pytest.mark.parametrize("shape", [(102, 128), (60, 61)])
def test_the_scoring_engine_and_the_training_framework_agree(
    name: ArchitectureName, shape: tuple[int, int]
) -> None:
    keras.utils.set_random_seed(2)
    model = ARCHITECTURES[name].build(*shape, Hyperparameters())
    random = np.random.default_rng(3)
    # A new network's biases are zero, and would hide one that is missing or in the wrong place.
    model.set_weights([weights + random.normal(0, 0.05, weights.shape) for weights in model.get_weights()])
    images = random.normal(0.5, 0.3, (5, *shape)).astype(np.float32)
    by_framework = model(images[..., np.newaxis]).numpy()[..., 0]
    by_engine = LiteRtEngine(convert(model)).reconstruct(images)
    assert by_engine.shape == images.shape
    assert np.abs(by_engine - by_framework).max() < 1e-5
    assert np.abs(by_framework).max() > 1e-3
