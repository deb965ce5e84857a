"""Recorded lasers as they are: what a detector that saw half of their frames makes of the other half.

The frames are packed as the demo packs them: the learned ones repeatedly, in random order, moved by whole
native pixels, with fresh noise. Then all frames are shown twice, in their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_detector.bundle import Bundle, Origin
from shotwatch_detector.decision import Judgement
from shotwatch_detector.detector import Detector
from shotwatch_detector.engine import LiteRtEngine
from shotwatch_inference.domain.incidents import Observation, follow, quiet_ms
from shotwatch_physics.beam import measure_beams
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.incidents import Incidents
from shotwatch_shots.place import Place
from shotwatch_shots.vocabulary import AnomalyKind, Phase, Severity
from shotwatch_simulator.files import recorders
from shotwatch_simulator.packing import Packing, pack
from shotwatch_simulator.recordings import change_of_regime, load_recording
from shotwatch_training.domain.calibration import learn_baselines, learn_cameras
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.domain.split import TimeSplit, image_set, usable_references
from shotwatch_training.models.conversion import convert
from shotwatch_training.models.fitting import fit
from shotwatch_training.settings import ArchitectureName, Hyperparameters

ROOT = Path(__file__).parents[2]
BEAMS = ROOT.parent / "shared" / "data" / "beams"
RECORDED = BEAMS / "regime_change_1hz"
FACILITY = load_facility(ROOT / "facilities" / "hpls.yaml")
CAMERA = "LA_A2-Camera_1-Camera-1"
EXPECTED = ExpectedDevices(Place.parse("LA-A2-00"), "1s", (CAMERA,))
START = datetime(2023, 5, 6, 15, 20, tzinfo=UTC)
LEARNING, REPEAT, SHAPE, PERIOD_MS = 240, 2, (102, 128), 1000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared/data/beams is absent"),
]


@dataclass(frozen=True)
class Sequence:
    """What a camera saw of a recorded laser, and a detector that learned from half of the recorded frames."""

    detector: Detector
    live: np.ndarray
    """Every recorded frame twice: (n, h, w)."""


def normal_files() -> list[Path]:
    """The recorded frames before the laser changes."""
    recording = load_recording(RECORDED, SHAPE)
    return [source.path for source in recording.sources[: change_of_regime(recording)]]


def packed(files: list[Path], folder: Path) -> np.ndarray:
    """Frames that show the first half of the files LEARNING times, then every file."""
    recording = load_recording(files, SHAPE)
    learned = np.random.default_rng(3).integers(-(-len(files) // 2), size=LEARNING)
    sequence = np.concatenate([learned, np.repeat(np.arange(len(files)), REPEAT)])
    packing = Packing(FACILITY, recorders(FACILITY, [EXPECTED]), recording, START, sequence)
    frames = []
    for file in pack(packing, folder):
        with h5py.File(file.path) as content:
            frames += [record[f"{CAMERA}/ROIImageLow"][:] for record in content.values()]
    return np.array(frames)


def measured(frames: np.ndarray) -> Mapping[str, np.ndarray]:
    return measure_beams(frames, FACILITY.frames.saturated_at)


def learned(frames: np.ndarray) -> Detector:
    times = PERIOD_MS * np.arange(len(frames))
    place = PlaceHistory("LA-A2-00", times, {CAMERA: dict(measured(frames))})
    history, split = History((place,), (CameraHistory(CAMERA, times, frames),)), TimeSplit()
    references = usable_references(history, split)
    images = image_set(history.cameras, references, split, LEARNING)
    fitted = fit(ArchitectureName.STRIDED, images, 4, 60, 1, lambda _: None, Hyperparameters())
    engine = LiteRtEngine(convert(fitted.model))
    cameras = learn_cameras(history, references, split, engine)
    baselines = learn_baselines(history, cameras, split, engine)
    return Detector(Bundle(Origin("HPLS", "strided", "test", 0, 0, 0), b"", cameras, baselines), engine)


@pytest.fixture(scope="module", params=[1, 2, 4], ids=["42 frames", "21 frames", "11 frames"])
def sequence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    """All normal frames of the recording, or every second or fourth one, as another laser of fewer frames."""
    frames = packed(normal_files()[:: request.param], tmp_path_factory.mktemp("packed"))
    return Sequence(learned(frames[:LEARNING]), frames[LEARNING:])


def judged(detector: Detector, frames: np.ndarray) -> Judgement:
    features = {CAMERA: {**measured(frames), **detector.score(CAMERA, frames)}}
    return detector.judge("LA A2", features, len(frames))


def incidents(judgement: Judgement) -> int:
    """The number of incidents that the shots of a judgement open, one a second."""
    seen = [Observation(PERIOD_MS * each.shot, str(n), each) for n, each in enumerate(judgement.findings)]
    _, notifications = follow(Incidents(), seen, PERIOD_MS * len(judgement.score), quiet_ms(PERIOD_MS))
    return sum(each.phase in (Phase.OPENED, Phase.PASSED) for each in notifications)


def test_the_other_half_of_a_recording_is_no_emergency_and_at_most_one_incident(sequence: Sequence) -> None:
    judgement = judged(sequence.detector, sequence.live)
    reasons = [finding.why for finding in judgement.findings]
    assert all(finding.severity is not Severity.CRITICAL for finding in judgement.findings), reasons
    assert all(finding.provisional and "never by chance" not in finding.why for finding in judgement.findings)
    assert incidents(judgement) <= 1, reasons


def test_a_hot_spot_of_a_fifth_of_the_peak_is_critical_all_the_same(sequence: Sequence) -> None:
    mean = sequence.live.mean(axis=0)
    lit = np.argwhere(mean > np.exp(-2) * mean.max())
    rng = np.random.default_rng(8)
    rows, columns = np.indices(SHAPE)
    for frame in sequence.live[::4]:
        row, column = lit[rng.integers(len(lit))]
        spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 1.5**2))
        spotted = np.clip(frame + 0.2 * mean.max() * spot, 0, 4092).round().astype(np.uint16)
        found = {finding.kind: finding for finding in judged(sequence.detector, spotted[np.newaxis]).findings}
        assert found[AnomalyKind.HOT_SPOT].severity is Severity.CRITICAL
