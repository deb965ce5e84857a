"""How a scorer looks, and the detector as one: it alone may know the shipped code."""

from typing import Protocol

import numpy as np

from shotwatch_benchmark.observing import CAMERA, METER, PLACE, Observed
from shotwatch_detector.arrays import Values
from shotwatch_detector.bundle import Bundle
from shotwatch_detector.detector import Detector
from shotwatch_detector.engine import LiteRtEngine

DETECTOR = "detector"


class Scorer(Protocol):
    """Says how odd shots are, each by itself; it was fitted to normal shots of another time."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def score(self, observed: Observed) -> Values:
        """Higher is odder: (n,), never NaN."""
        ...


class DetectorScorer:
    """The detector that inference runs, and its rule for the two halves of a meter."""

    name = DETECTOR

    def __init__(self, bundle: Bundle, most_disagreement: float) -> None:
        self._bundle = bundle
        self._most_disagreement = most_disagreement
        self._detector = Detector(bundle, LiteRtEngine(bundle.network))

    def __reduce__(self) -> tuple[type["DetectorScorer"], tuple[Bundle, float]]:
        """An engine cannot go to another process: it is made there again."""
        return DetectorScorer, (self._bundle, self._most_disagreement)

    def score(self, observed: Observed) -> Values:
        """`Judgement.score` of one shot at a time, so that no neighbour says anything; infinite by a rule."""
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
    def threshold(self) -> float:
        """The score above which inference raises an alarm."""
        return self._detector.judge(PLACE, {}, 1).threshold
