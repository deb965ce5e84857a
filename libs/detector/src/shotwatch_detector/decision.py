"""From features and scores to findings: what is odd about a shot, said once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shotwatch_common.vocabulary import AnomalyKind
from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.catalogue import SIGNS
from shotwatch_detector.finding import Contribution, Finding
from shotwatch_detector.sentences import explain
from shotwatch_detector.severity import severity_of_deviation
from shotwatch_detector.statistics import RUN, Usual, last_of_run, medians_of_runs

UsualOfDevices = Mapping[str, Mapping[str, Usual]]
"""Device → feature or score → its reference."""

THRESHOLD = 1.0
"""Of a shot's score: the largest of its deviations over their limits."""

_MOVED = frozenset({AnomalyKind.POINTING, AnomalyKind.BEAM_SIZE})
CAUSES: Mapping[AnomalyKind, frozenset[AnomalyKind]] = {
    AnomalyKind.HOT_SPOT: _MOVED,
    AnomalyKind.PROFILE: _MOVED | {AnomalyKind.HOT_SPOT},
    AnomalyKind.SPECTRUM: frozenset({AnomalyKind.BANDWIDTH}),
}
"""A kind is not reported for a device on which one of its causes is: it only follows from it.

A beam elsewhere or of another size leaves light where there was none; a spot of a few pixels does not hold
enough light to move the beam.
"""

COMMON_CAUSES: Mapping[AnomalyKind, frozenset[AnomalyKind]] = {
    AnomalyKind.SPECTRUM: frozenset({AnomalyKind.ENERGY})
}
"""The same across the devices of a shot: less light in the pulse is less light in its spectrum."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the statistics say of a batch of n shots."""

    score: Values
    """Of each shot, 1 = at the threshold: (n,)."""
    findings: tuple[Finding, ...]
    """By shot; one per shot and kind."""


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """One feature of one device over the batch."""

    device: str
    feature: str
    kind: AnomalyKind
    usual: Usual
    values: Values
    exceedances: Values


def judge(place: str, features: Mapping[str, Features], usual: UsualOfDevices, shots: int) -> Judgement:
    """Judge a batch of consecutive shots of one place.

    A shot is odd by itself, or because the level of a feature has shifted: then the median of a run of shots
    is further from its reference than chance allows, and the last shot of the first such run tells.

    Args:
        place: what the operator calls it.
        features: device → feature or score → value per shot (n,).
        usual: the references; what has none is not judged.
        shots: n.
    """
    score, findings = _judge(place, features, usual, shots)
    for shift in _shifts(place, features, usual):
        if not any(f.kind is shift.kind and shift.shot - RUN < f.shot <= shift.shot for f in findings):
            score[shift.shot] = max(score[shift.shot], shift.score / shift.threshold)
            findings.append(shift)
    return Judgement(score, tuple(sorted(findings, key=lambda finding: finding.shot)))


def _shifts(place: str, features: Mapping[str, Features], usual: UsualOfDevices) -> list[Finding]:
    """The first shift of each kind in the batch."""
    medians = {
        device: {name: medians_of_runs(values) for name, values in measured.items()}
        for device, measured in features.items()
    }
    of_runs = {
        device: {name: reference.of_runs() for name, reference in usual.get(device, {}).items()}
        for device in features
    }
    runs = max((len(values) for measured in medians.values() for values in measured.values()), default=0)
    _, found = _judge(place, medians, of_runs, runs)
    first = {finding.kind: finding for finding in reversed(found)}
    return [
        replace(shift, shot=last_of_run(shift.shot), why=f"{shift.why}, in the median of {RUN} shots")
        for shift in first.values()
    ]


def _judge(
    place: str, features: Mapping[str, Features], usual: UsualOfDevices, shots: int
) -> tuple[Values, list[Finding]]:
    columns = list(_columns(features, usual))
    if not columns:
        return np.zeros(shots), []
    score = np.max([column.exceedances for column in columns], axis=0)
    odd = np.flatnonzero(score > THRESHOLD).tolist()
    return score, [finding for shot in odd for finding in _findings(shot, place, columns, features)]


def _columns(features: Mapping[str, Features], usual: Mapping[str, Mapping[str, Usual]]) -> Iterable[_Column]:
    for device, measured in features.items():
        for feature, reference in usual.get(device, {}).items():
            if feature in measured:
                values = measured[feature]
                exceedances = reference.exceedances(values)
                yield _Column(device, feature, SIGNS[feature].kind, reference, values, exceedances)


def _findings(
    shot: int, place: str, columns: Sequence[_Column], features: Mapping[str, Features]
) -> Iterable[Finding]:
    odd = sorted(
        (column for column in columns if column.exceedances[shot] > THRESHOLD),
        key=lambda column: -column.exceedances[shot],
    )
    own_causes = [column for column in odd if not _follows(column, odd)]
    for kind in dict.fromkeys(column.kind for column in own_causes):
        leading = [column for column in own_causes if column.kind is kind]
        yield _finding(shot, place, leading, odd, columns, features)


def _follows(column: _Column, odd: Sequence[_Column]) -> bool:
    """Whether the deviation of a column only follows from another one of the same shot."""
    return any(
        (other.device == column.device and other.kind in CAUSES.get(column.kind, ()))
        or other.kind in COMMON_CAUSES.get(column.kind, ())
        for other in odd
    )


def _finding(
    shot: int,
    place: str,
    leading: Sequence[_Column],
    odd: Sequence[_Column],
    columns: Sequence[_Column],
    features: Mapping[str, Features],
) -> Finding:
    strongest = leading[0]
    devices = tuple(dict.fromkeys(column.device for column in leading))
    contributions = sorted(
        (_contribution(column, shot) for column in odd if column.device in devices),
        key=lambda contribution: -abs(contribution.sigmas),
    )
    head = _contribution(strongest, shot)
    return Finding(
        shot=shot,
        kind=strongest.kind,
        severity=severity_of_deviation(
            strongest.kind, float(strongest.exceedances[shot]), rises=head.sigmas > 0
        ),
        devices=devices,
        score=abs(head.sigmas),
        threshold=strongest.usual.limit,
        why=explain(
            place,
            head,
            showing=len(devices),
            watching=_watching(strongest.kind, columns, shot),
            measured={name: float(values[shot]) for name, values in features[strongest.device].items()},
        ),
        contributions=tuple(contributions),
    )


def _contribution(column: _Column, shot: int) -> Contribution:
    value = column.values[shot]
    return Contribution(
        device=column.device,
        feature=column.feature,
        value=float(value),
        reference=column.usual.centre,
        sigmas=float((value - column.usual.centre) / column.usual.sigma),
        unit=SIGNS[column.feature].unit,
    )


def _watching(kind: AnomalyKind, columns: Sequence[_Column], shot: int) -> int:
    """How many devices could have shown that kind in the shot."""
    return len({c.device for c in columns if c.kind is kind and np.isfinite(c.values[shot])})
