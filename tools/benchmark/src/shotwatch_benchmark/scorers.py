"""The interface of a scorer, and the detector as a scorer. Only this module uses the detector's own code."""

from typing import Protocol

import numpy as np

from shotwatch_benchmark.observing import CAMERA, METER, PLACE, Observed
from shotwatch_detector.arrays import Values
from shotwatch_detector.bundle import Bundle
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.detector import Detector
from shotwatch_detector.engine import LiteRtEngine

DETECTOR = "detector"


class Scorer(Protocol):
    """A score of how anomalous shots are, each judged alone; fitted to normal shots of another time."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    def score(self, observed: Observed) -> Values:
        """Return a score for each shot, higher for more anomalous ones: (n,), never NaN."""
        ...


class DetectorScorer:
    """The detector that inference runs, and its rule for the two halves of a meter."""

    name = DETECTOR

    def __init__(self, bundle: Bundle, most_disagreement: float) -> None:
        self._bundle = bundle
        self._most_disagreement = most_disagreement
        self._detector = Detector(bundle, LiteRtEngine(bundle.network))

    def __reduce__(self) -> tuple[type["DetectorScorer"], tuple[Bundle, float]]:
        """Return how to create the scorer in another process, because an engine cannot be pickled."""
        return DetectorScorer, (self._bundle, self._most_disagreement)

    def score(self, observed: Observed) -> Values:
        """Return `Judgement.score` of each shot, judged alone so that other shots have no influence.

        It is infinite for a shot that breaks the rule.
        """
        shots = range(len(observed.shots.frames))
        scores = self._detector.score(CAMERA, observed.shots.frames)
        features = {**observed.features, CAMERA: {**observed.features[CAMERA], **scores}}
        by_shot = (
            {
                device: {name: of[shot : shot + 1] for name, of in known.items()}
                for device, known in features.items()
            }
            for shot in shots
        )
        score = np.array([self._detector.judge(PLACE, one, 1).score[0] for one in by_shot])
        broken = observed.features[METER]["energy_disagreement"] > self._most_disagreement
        return np.where(broken, np.inf, score)

    @property
    def baselines(self) -> DeviceBaselines:
        """The references of the devices."""
        return self._bundle.baselines

    @property
    def threshold(self) -> float:
        """The score above which inference raises an alarm."""
        return self._detector.judge(PLACE, {}, 1).threshold
