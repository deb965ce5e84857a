"""How far beyond its limit each question sees a small anomaly, compared with what was recorded here.

The shots are those of the small benchmark (`make bench-detect`), on simulated frames with its seed.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import bisect

from shotwatch_benchmark.anomalies import BY_NAME
from shotwatch_benchmark.lasers import simulated_laser
from shotwatch_benchmark.learning import learn, train
from shotwatch_benchmark.observing import Observed, observe
from shotwatch_benchmark.protocol import BETWEEN_MS, PERIOD_MS, SMALL
from shotwatch_benchmark.scenes import Scene
from shotwatch_benchmark.scorers import DetectorScorer
from shotwatch_detector.bundle import Bundle
from shotwatch_detector.tails import Tail
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_training.temporary_files import private_temporary_files

pytestmark = pytest.mark.slow

SEEN: Mapping[AnomalyKind, tuple[str, float, float]] = {
    AnomalyKind.HOT_SPOT: ("hot spot", 0.006, 1.20),
    AnomalyKind.PROFILE: ("dead column", 0.004, 1.28),
    AnomalyKind.POINTING: ("pointing step", 0.8, 1.24),
    AnomalyKind.BEAM_SIZE: ("defocus", 0.1, 2.45),
    AnomalyKind.ENERGY: ("energy drop", 0.04, 1.04),
    AnomalyKind.BANDWIDTH: ("low bandwidth", 0.015, 1.04),
    AnomalyKind.WAVELENGTH: ("wavelength shift", 2.5, 1.09),
    AnomalyKind.SPECTRUM: ("spectral hole", 0.15, 1.31),
}
"""Question → a class that it finds, a severity, and how much further out its limits could be (`margin`)."""
TOLERANCE = 0.05
EPOCHS = 1
"""The network has little part in what is measured here."""
SHOTS = 41
NO_RULE = 2.0
"""No meter's energies disagree by more, so the rule finds nothing."""
PULSES = PERIOD_MS * (SMALL.learning + 50 * np.arange(SHOTS, dtype=np.int64)) + BETWEEN_MS


@pytest.fixture(scope="module")
def scene() -> Scene:
    laser = simulated_laser("simulated", 0)
    return Scene(laser, laser.test, 0)


@pytest.fixture(scope="module")
def bundle(scene: Scene) -> Bundle:
    with private_temporary_files():
        learned = learn(scene.laser, PERIOD_MS * np.arange(SMALL.learning, dtype=np.int64), 0)
        return train(learned, EPOCHS, 0, lambda *_, **__: None)


def margin(bundle: Bundle, observed: Observed, kind: AnomalyKind) -> float:
    """Return how many times further out the limits of a question can be until it finds half of the shots."""

    def excess(limits: float) -> float:
        scorer = DetectorScorer(answering(bundle, kind, limits), NO_RULE)
        return float(np.median(scorer.score(observed)) - scorer.threshold)

    return float(bisect(excess, 0.2, 5.0, xtol=0.005))


def answering(bundle: Bundle, kind: AnomalyKind, limits: float = 1.0) -> Bundle:
    """Return a detector for one question alone, so that no other one finds the same anomaly.

    Its limits are as many times further out as `limits` states.
    """
    return replace(
        bundle,
        baselines={
            device: {
                name: replace(of, tail=Tail(limits * of.tail.reach, of.tail.shape))
                for name, of in features.items()
                if INDICATORS[name].kind is kind
            }
            for device, features in bundle.baselines.items()
        },
    )


@pytest.mark.parametrize("kind", SEEN)
def test_every_question_sees_what_it_saw_and_a_tenth_less_would_be_noticed(
    kind: AnomalyKind, bundle: Bundle, scene: Scene
) -> None:
    name, severity, seen = SEEN[kind]
    observed = observe(scene, PULSES, BY_NAME[name], severity)
    least = (1 - TOLERANCE) * seen
    assert margin(bundle, observed, kind) > least
    assert margin(answering(bundle, kind, limits=1.1), observed, kind) < least
