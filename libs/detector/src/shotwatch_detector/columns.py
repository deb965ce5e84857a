"""Each feature of each device over a batch of shots, with its surprisal and its share of the false alarms."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.sizes import sizes_of
from shotwatch_detector.statistics import Baseline
from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.features.severities import SEVERITY_LIMITS
from shotwatch_shots.vocabulary import AnomalyKind

DeviceBaselines = Mapping[str, Mapping[str, Baseline]]
"""Device → feature or score → its reference."""

MAX_SURPRISAL = 99.0


@dataclass(frozen=True, slots=True, eq=False)
class FeatureColumn:
    """One feature of one device over a batch of n shots."""

    device: str
    feature: str
    kind: AnomalyKind | None
    """None for a feature that only explains."""
    baseline: Baseline
    values: Values
    score: Values
    """Surprisal minus log₁₀ of the number of questions and of its question's members: with many of them, one
    deviates by chance. It is the tail's, however far that is extrapolated. It is 0 for a deviation that is
    too small to be an event (`SeverityLimits.least`).
    """

    def scaled(self, factor: float) -> "FeatureColumn":
        """Return the column with its scores multiplied by a factor."""
        return self if factor == 1.0 else replace(self, score=self.score * factor)


def columns_of(features: Mapping[str, Features], baselines: DeviceBaselines) -> list[FeatureColumn]:
    """Return the features that have a reference."""
    known = [
        (device, feature, reference, measured[feature])
        for device, measured in features.items()
        for feature, reference in baselines.get(device, {}).items()
        if feature in measured
    ]
    members = Counter(INDICATORS[feature].kind for _, feature, _, _ in known)
    return [
        FeatureColumn(
            device,
            feature,
            INDICATORS[feature].kind,
            reference,
            values,
            _scores(feature, values, reference, features[device], members),
        )
        for device, feature, reference, values in known
    ]


def scores_by_question(columns: Iterable[FeatureColumn]) -> dict[AnomalyKind, Values]:
    """Return question → the highest score of its columns in each shot: (n,)."""
    of_questions: dict[AnomalyKind, list[Values]] = defaultdict(list)
    for column in columns:
        if column.kind is not None:
            of_questions[column.kind].append(column.score)
    return {kind: np.max(scores, axis=0) for kind, scores in of_questions.items()}


def _scores(
    feature: str,
    values: Values,
    reference: Baseline,
    measured: Features,
    members: Mapping[AnomalyKind | None, int],
) -> Values:
    kind = INDICATORS[feature].kind
    surprisals = reference.surprisals(values) - _chances(reference, kind, members)
    if kind is not None:
        sizes = sizes_of(feature, values, reference.centre, measured)
        surprisals = np.where(np.abs(sizes) < SEVERITY_LIMITS[feature].least, 0.0, surprisals)
    scores: Values = np.clip(surprisals, 0.0, MAX_SURPRISAL)
    return scores


def _chances(
    reference: Baseline, kind: AnomalyKind | None, members: Mapping[AnomalyKind | None, int]
) -> float:
    """Return log₁₀ of how often any of a place's statistics exceeds a limit, for each time that this does.

    The questions share the false alarms of a place equally, and the members of a question share its own.
    """
    questions = len(members.keys() - {None})
    of_question = members[kind] if reference.members is None else reference.members
    return float(np.log10(max(1, questions) * of_question))
