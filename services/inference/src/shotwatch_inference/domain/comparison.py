"""Comparison of two versions of the model on the same shots: which version flags which shots as anomalous."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.thresholds import SHOTS_PER_HOUR
from shotwatch_shots.feedback import ShotLabels
from shotwatch_shots.vocabulary import AnomalyKind

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
"""Quantiles of the scores; the last one is the maximum."""
MOST_EXAMPLES = 20
"""Maximum number of examples of shots that only one version flags, those with the highest scores."""

Values = NDArray[np.float64]
Kinds = Mapping[str, Sequence[AnomalyKind]]
"""Shot → its kinds of anomaly, for each anomalous shot."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The result of one version for some shots."""

    scores: Mapping[str, float]
    """Shot id → score."""
    kinds: Kinds
    alarms: int
    """Number of incidents that began: what a person on shift would have been notified of."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The results of a version for the shots that people labelled."""

    confirmed: int
    """Number of anomalies that people confirmed."""
    found: int
    """Number of these that the version finds."""
    false: int
    """Number of findings that people labelled as false alarms."""
    repeated: int
    """Number of these that the version raises again."""


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """The results of one version for all shots."""

    version: str
    shots: int
    anomalous: int
    alarms: int
    anomalous_per_hour: float
    """At 10 Hz."""
    alarms_per_hour: float
    kinds: Mapping[str, int]
    """Kind of anomaly → number of shots."""
    scores: Mapping[str, float]
    """Quantile → score."""
    labels: Labels
    seconds: float
    """Computing time for scores and judgement, in seconds."""
    shots_per_second: float


@dataclass(frozen=True, slots=True)
class Example:
    """A shot that only one version flags as anomalous."""

    shot: str
    kinds: Sequence[AnomalyKind]
    score: float
    other_score: float


@dataclass(frozen=True, slots=True)
class Only:
    """The shots that one version flags as anomalous and the other does not."""

    version: str
    shots: int
    kinds: Mapping[str, int]
    examples: Sequence[Example]
    """The shots with the highest scores, in descending order."""


@dataclass(slots=True)
class VersionTally:
    """The accumulated results of one version, batch by batch."""

    version: str
    scores: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, Sequence[AnomalyKind]] = field(default_factory=dict)
    alarms: int = 0
    seconds: float = 0.0

    def add(self, opinion: Opinion, seconds: float) -> None:
        self.scores.update(opinion.scores)
        self.kinds.update(opinion.kinds)
        self.alarms += opinion.alarms
        self.seconds += seconds

    def summary(self, labels: Mapping[str, ShotLabels], rules: frozenset[AnomalyKind]) -> VersionSummary:
        """Return the results; labels (by shot) of the kinds in `rules` are ignored: no model finds those."""
        shots, anomalous = len(self.scores), len(self.kinds)
        hours = shots / SHOTS_PER_HOUR
        return VersionSummary(
            version=self.version,
            shots=shots,
            anomalous=anomalous,
            alarms=self.alarms,
            anomalous_per_hour=anomalous / hours if shots else 0.0,
            alarms_per_hour=self.alarms / hours if shots else 0.0,
            kinds=_counted(self.kinds),
            scores=_quantiles(np.fromiter(self.scores.values(), np.float64)),
            labels=self._labels(labels, rules),
            seconds=self.seconds,
            shots_per_second=shots / self.seconds if self.seconds else 0.0,
        )

    def _labels(self, labels: Mapping[str, ShotLabels], rules: frozenset[AnomalyKind]) -> Labels:
        known = {shot: label for shot, label in labels.items() if shot in self.scores}
        confirmed = [(shot, kind) for shot, label in known.items() for kind in label.confirmed - rules]
        false = [(shot, kind) for shot, label in known.items() for kind in label.false - rules]
        return Labels(
            confirmed=len(confirmed),
            found=sum(self._reports(shot, kind) for shot, kind in confirmed),
            false=len(false),
            repeated=sum(self._reports(shot, kind) for shot, kind in false),
        )

    def _reports(self, shot: str, kind: AnomalyKind) -> bool:
        return kind in self.kinds.get(shot, ())


def only(one: VersionTally, other: VersionTally) -> Only:
    """Return the shots that one version flags as anomalous and the other does not."""
    alone = {shot: kinds for shot, kinds in one.kinds.items() if shot not in other.kinds}
    most_anomalous = sorted(alone, key=lambda shot: (-one.scores[shot], shot))[:MOST_EXAMPLES]
    examples = [Example(shot, alone[shot], one.scores[shot], other.scores[shot]) for shot in most_anomalous]
    return Only(one.version, len(alone), _counted(alone), examples)


def _counted(kinds: Kinds) -> dict[str, int]:
    return dict(Counter(kind.value for of_shot in kinds.values() for kind in of_shot).most_common())


def _quantiles(scores: Values) -> dict[str, float]:
    return dict(_named(scores)) if len(scores) else {}


def _named(scores: Values) -> Iterator[tuple[str, float]]:
    for share, value in zip(QUANTILES, np.quantile(scores, QUANTILES).tolist(), strict=True):
        yield f"{share:g}", value
