"""The decision: turn features and scores into findings, one for each kind of anomaly in a shot."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.causes import follows
from shotwatch_detector.claims import claim, highest_score
from shotwatch_detector.columns import DeviceBaselines, FeatureColumn, columns_of, scores_by_question
from shotwatch_detector.deviations import contribution_of, measured_values, severity_of, sigmas, sort_key
from shotwatch_detector.finding import Finding
from shotwatch_detector.sentences import chance_of, explain
from shotwatch_detector.statistics import RUN, last_of_run, medians_of_runs
from shotwatch_detector.thresholds import ONE_AN_HOUR, SeriesThresholds
from shotwatch_shots.event import Contribution
from shotwatch_shots.vocabulary import AnomalyKind, Severity

_SEVERITIES = tuple(Severity)
EXPLAINING_SIGMAS = 3.0
"""Deviations from here on are listed as contributions to an event, even if they raise no alarm alone."""
MOST_CONTRIBUTIONS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The statistical judgement of a batch of n shots."""

    score: Values
    """-log₁₀ of the probability that a normal shot has as large a deviation in any feature: (n,).

    It is limited to what may be claimed (`highest_score`).
    """
    threshold: float
    """A shot with a higher score is an anomaly."""
    findings: tuple[Finding, ...]
    """In the order of the shots; one per shot and kind."""
    questions: Mapping[AnomalyKind, Values]
    """Question → the highest score by the fitted tails, however far they are extrapolated: (n,)."""


def judge(
    place: str,
    features: Mapping[str, Features],
    baselines: DeviceBaselines,
    shots: int,
    thresholds: SeriesThresholds = ONE_AN_HOUR,
) -> Judgement:
    """Judge a batch of consecutive shots of one place.

    A shot can be anomalous by itself. Or the level of a feature has shifted: then the median of a run of
    shots is further from its reference than chance allows, and the last shot of the first such run is
    reported.

    Args:
        place: name of the place for operators.
        features: device → feature or score → value per shot (n,).
        baselines: the references; features without one are not judged.
        shots: n.
        thresholds: of the place.
    """
    columns = columns_of(features, baselines)
    score, findings = _judge(place, columns, features, shots, thresholds)
    for shift in _shifts(place, features, baselines, thresholds):
        if not any(f.kind is shift.kind and shift.shot - RUN < f.shot <= shift.shot for f in findings):
            score[shift.shot] = max(score[shift.shot], shift.score)
            findings.append(shift)
    found = tuple(sorted(findings, key=lambda finding: finding.shot))
    return Judgement(score, thresholds.score, found, scores_by_question(columns))


def _shifts(
    place: str, features: Mapping[str, Features], baselines: DeviceBaselines, thresholds: SeriesThresholds
) -> list[Finding]:
    """Return the first shift of each kind in the batch."""
    medians = {
        device: {name: medians_of_runs(values) for name, values in measured.items()}
        for device, measured in features.items()
    }
    of_runs = {
        device: {name: reference.of_runs() for name, reference in baselines.get(device, {}).items()}
        for device in features
    }
    runs = max((len(values) for measured in medians.values() for values in measured.values()), default=0)
    _, found = _judge(place, columns_of(medians, of_runs), medians, runs, thresholds.of_runs)
    first = {finding.kind: finding for finding in reversed(found)}
    return [
        replace(shift, shot=last_of_run(shift.shot), why=f"{shift.why}, in the median of {RUN} shots")
        for shift in first.values()
    ]


def _judge(
    place: str,
    fitted: Sequence[FeatureColumn],
    features: Mapping[str, Features],
    shots: int,
    thresholds: SeriesThresholds,
) -> tuple[Values, list[Finding]]:
    columns = [column.scaled(thresholds.factor(column.kind)) for column in fitted]
    judged = [*_claims(columns, thresholds.score)]
    if not judged:
        return np.zeros(shots), []
    score: Values = np.max(judged, axis=0)
    anomalous = np.flatnonzero(score > thresholds.score).tolist()
    return score, [
        finding for shot in anomalous for finding in _findings(shot, place, columns, features, thresholds)
    ]


def _claims(columns: Sequence[FeatureColumn], threshold: float) -> Iterator[Values]:
    """Yield the scores of the columns that raise alarms, limited to what may be claimed."""
    for column in columns:
        if column.kind is not None:
            yield np.minimum(column.score, highest_score(column.baseline.independent, threshold))


def _findings(
    shot: int,
    place: str,
    columns: Sequence[FeatureColumn],
    features: Mapping[str, Features],
    thresholds: SeriesThresholds,
) -> Iterable[Finding]:
    anomalous = sorted(
        (column for column in columns if column.kind is not None and column.score[shot] > thresholds.score),
        key=lambda column: sort_key(column, shot),
        reverse=True,
    )
    own_causes = [
        column for column in anomalous if not follows(column, anomalous, features, shot)
    ] or anomalous  # Each is a consequence of another one: nobody knows which is the cause.
    for kind in dict.fromkeys(column.kind for column in own_causes):
        if kind is not None:
            leading = [column for column in own_causes if column.kind is kind]
            yield _finding(shot, place, kind, leading, columns, features, thresholds)


def _finding(
    shot: int,
    place: str,
    kind: AnomalyKind,
    leading: Sequence[FeatureColumn],
    columns: Sequence[FeatureColumn],
    features: Mapping[str, Features],
    thresholds: SeriesThresholds,
) -> Finding:
    strongest = leading[0]
    extrapolated = float(strongest.score[shot])
    claimed = claim(extrapolated, strongest.baseline.independent, thresholds.score, thresholds.supported)
    devices = tuple(dict.fromkeys(column.device for column in leading))
    severity, gravest = _gravest(leading, features, shot)
    head = contribution_of(gravest, shot)
    measured = measured_values(gravest, features, shot)
    return Finding(
        shot=shot,
        kind=kind,
        severity=severity,
        devices=devices,
        score=claimed.score,
        extrapolated=extrapolated,
        provisional=claimed.provisional,
        threshold=thresholds.score,
        why=explain(
            place,
            head,
            showing=len(devices),
            watching=_watching(kind, columns, shot),
            measured=measured,
        )
        + f"; {chance_of(thresholds.share.per_hour_of(claimed.stated), claimed)}",
        contributions=_contributions(devices, columns, shot),
    )


def _gravest(
    leading: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int
) -> tuple[Severity, FeatureColumn]:
    """Return the severity of the most urgent deviation, and the first column that has it.

    The strongest deviation is not always the most urgent: the middle of a hot spot is a bright pixel, too,
    of which less than 27 % of the peak is no danger.
    """
    severities = [severity_of(column, features, shot) for column in leading]
    worst = max(severities, key=_SEVERITIES.index)
    return worst, leading[severities.index(worst)]


def _contributions(
    devices: Sequence[str], columns: Sequence[FeatureColumn], shot: int
) -> tuple[Contribution, ...]:
    """Return the large deviations on these devices, strongest first."""
    unusual = [
        contribution_of(column, shot)
        for column in columns
        if column.device in devices and abs(sigmas(column, shot)) >= EXPLAINING_SIGMAS
    ]
    return tuple(sorted(unusual, key=lambda each: -abs(each.sigmas))[:MOST_CONTRIBUTIONS])


def _watching(kind: AnomalyKind, columns: Sequence[FeatureColumn], shot: int) -> int:
    """Return how many devices could have shown that kind in the shot."""
    return len({c.device for c in columns if c.kind is kind and np.isfinite(c.values[shot])})
