"""Two versions of the model on the same shots: which of them calls which shots odd."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.decision import SHOTS_PER_HOUR
from shotwatch_shots.feedback import ShotLabels
from shotwatch_shots.vocabulary import AnomalyKind

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
"""Of the scores; the last one is the highest."""
MOST_EXAMPLES = 20
"""Shots that are told of those that only one version calls odd, the oddest ones."""

Values = NDArray[np.float64]
Kinds = Mapping[str, Sequence[AnomalyKind]]
"""Shot → its kinds, for each odd one."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one version says of some shots."""

    scores: Mapping[str, float]
    """Of each shot, by its id."""
    kinds: Kinds
    alarms: int
    """Conditions that began: what a person on shift would have been told."""


@dataclass(frozen=True, slots=True)
class Labels:
    """How a version does on the shots that people judged."""

    confirmed: int
    """Anomalies that somebody confirmed."""
    found: int
    """Of these: those that it finds."""
    false: int
    """Kinds of shots that somebody called a false alarm."""
    repeated: int
    """Of these: those that it raises again."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One version over all the shots."""

    version: str
    shots: int
    odd: int
    alarms: int
    odd_per_hour: float
    """At 10 Hz."""
    alarms_per_hour: float
    kinds: Mapping[str, int]
    """How many shots it calls so."""
    scores: Mapping[str, float]
    """Quantile → score."""
    labels: Labels
    seconds: float
    """Of computing: scores and judgement."""
    shots_per_second: float


@dataclass(frozen=True, slots=True)
class Example:
    """A shot that only one version calls odd."""

    shot: str
    kinds: Sequence[AnomalyKind]
    score: float
    other_score: float


@dataclass(frozen=True, slots=True)
class Only:
    """What one version calls odd and the other does not."""

    version: str
    shots: int
    kinds: Mapping[str, int]
    examples: Sequence[Example]
    """The oddest, first."""


@dataclass(slots=True)
class Tally:
    """One version's opinions, batch by batch."""

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

    def summary(self, labels: Mapping[str, ShotLabels], rules: frozenset[AnomalyKind]) -> Summary:
        """What came of it; `labels` by shot, those of `rules` are not for a model to find."""
        shots, odd = len(self.scores), len(self.kinds)
        hours = shots / SHOTS_PER_HOUR
        return Summary(
            version=self.version,
            shots=shots,
            odd=odd,
            alarms=self.alarms,
            odd_per_hour=odd / hours if shots else 0.0,
            alarms_per_hour=self.alarms / hours if shots else 0.0,
            kinds=_counted(self.kinds),
            scores=_quantiles(np.fromiter(self.scores.values(), np.float64)),
            labels=self._labels(labels, rules),
            seconds=self.seconds,
            shots_per_second=shots / self.seconds if self.seconds else 0.0,
        )

    def _labels(self, labels: Mapping[str, ShotLabels], rules: frozenset[AnomalyKind]) -> Labels:
        known = {shot: said for shot, said in labels.items() if shot in self.scores}
        confirmed = [(shot, kind) for shot, said in known.items() for kind in said.confirmed - rules]
        false = [(shot, kind) for shot, said in known.items() for kind in said.false - rules]
        return Labels(
            confirmed=len(confirmed),
            found=sum(self._says(shot, kind) for shot, kind in confirmed),
            false=len(false),
            repeated=sum(self._says(shot, kind) for shot, kind in false),
        )

    def _says(self, shot: str, kind: AnomalyKind) -> bool:
        return kind in self.kinds.get(shot, ())


def only(one: Tally, other: Tally) -> Only:
    """The shots that one version calls odd and the other does not."""
    alone = {shot: kinds for shot, kinds in one.kinds.items() if shot not in other.kinds}
    oddest = sorted(alone, key=lambda shot: (-one.scores[shot], shot))[:MOST_EXAMPLES]
    examples = [Example(shot, alone[shot], one.scores[shot], other.scores[shot]) for shot in oddest]
    return Only(one.version, len(alone), _counted(alone), examples)


def _counted(kinds: Kinds) -> dict[str, int]:
    return dict(Counter(kind.value for of_shot in kinds.values() for kind in of_shot).most_common())


def _quantiles(scores: Values) -> dict[str, float]:
    return dict(_named(scores)) if len(scores) else {}


def _named(scores: Values) -> Iterator[tuple[str, float]]:
    for share, value in zip(QUANTILES, np.quantile(scores, QUANTILES).tolist(), strict=True):
        yield f"{share:g}", value
