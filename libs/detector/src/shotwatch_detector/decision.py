"""The decision: turn features and scores into findings, one for each kind of anomaly in a shot."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.claims import claim, highest_score
from shotwatch_detector.columns import DeviceBaselines, FeatureColumn, columns_of
from shotwatch_detector.finding import Finding
from shotwatch_detector.sentences import chance_of, explain
from shotwatch_detector.severity import severity_of_deviation
from shotwatch_detector.sizes import size_of
from shotwatch_detector.statistics import RUN, last_of_run, medians_of_runs
from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import FEATURE_SPECS, INDICATORS
from shotwatch_shots.vocabulary import AnomalyKind, Severity

_SEVERITIES = tuple(Severity)
SHOTS_PER_HOUR = 36_000
"""At 10 Hz, the pulse rate for which false alarms are stated. Slower places raise proportionally fewer."""
EXPLAINING_SIGMAS = 3.0
"""Deviations from here on are listed as contributions to an event, even if they raise no alarm alone."""
MOST_CONTRIBUTIONS = 12

_MOVED = frozenset({AnomalyKind.POINTING, AnomalyKind.BEAM_SIZE})
CAUSES: Mapping[AnomalyKind, frozenset[AnomalyKind]] = {
    AnomalyKind.HOT_SPOT: _MOVED,
    AnomalyKind.PROFILE: _MOVED,
    AnomalyKind.SPECTRUM: frozenset({AnomalyKind.BANDWIDTH}),
    AnomalyKind.WAVELENGTH: frozenset({AnomalyKind.BANDWIDTH}),
}
"""A kind is not reported for a device that shows one of its causes: it is only a consequence of that cause.

A beam that moved or changed its size leaves light where there was none before. A spot of a few pixels does
not hold enough light to move the beam far. So a critical deviation is no consequence of one that is too small
to be a warning.
"""

_SPOTS = frozenset({AnomalyKind.HOT_SPOT, AnomalyKind.PROFILE})
_OF_PROFILE = frozenset({AnomalyKind.PROFILE, AnomalyKind.BEAM_SIZE})

COMMON_CAUSES: Mapping[AnomalyKind, frozenset[AnomalyKind]] = {
    AnomalyKind.SPECTRUM: frozenset({AnomalyKind.ENERGY})
}
"""Causes that count for all devices of a shot: less light in the pulse means less light in its spectrum."""


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


def threshold_of(false_alarms_per_hour: float) -> float:
    """Return the score that normal shots exceed this often per hour, at 10 Hz."""
    return float(np.log10(SHOTS_PER_HOUR / false_alarms_per_hour))


def judge(
    place: str,
    features: Mapping[str, Features],
    baselines: DeviceBaselines,
    shots: int,
    false_alarms_per_hour: float = 1.0,
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
        false_alarms_per_hour: how many normal shots of a place may be called anomalous per hour, at 10 Hz.
    """
    threshold = threshold_of(false_alarms_per_hour)
    score, findings = _judge(place, features, baselines, shots, threshold)
    for shift in _shifts(place, features, baselines, threshold):
        if not any(f.kind is shift.kind and shift.shot - RUN < f.shot <= shift.shot for f in findings):
            score[shift.shot] = max(score[shift.shot], shift.score)
            findings.append(shift)
    return Judgement(score, threshold, tuple(sorted(findings, key=lambda finding: finding.shot)))


def _shifts(
    place: str, features: Mapping[str, Features], baselines: DeviceBaselines, threshold: float
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
    _, found = _judge(place, medians, of_runs, runs, threshold)
    first = {finding.kind: finding for finding in reversed(found)}
    return [
        replace(shift, shot=last_of_run(shift.shot), why=f"{shift.why}, in the median of {RUN} shots")
        for shift in first.values()
    ]


def _judge(
    place: str, features: Mapping[str, Features], baselines: DeviceBaselines, shots: int, threshold: float
) -> tuple[Values, list[Finding]]:
    columns = columns_of(features, baselines)
    judged = [*_claims(columns, threshold)]
    if not judged:
        return np.zeros(shots), []
    score: Values = np.max(judged, axis=0)
    anomalous = np.flatnonzero(score > threshold).tolist()
    return score, [
        finding for shot in anomalous for finding in _findings(shot, place, columns, features, threshold)
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
    threshold: float,
) -> Iterable[Finding]:
    anomalous = sorted(
        (column for column in columns if column.kind is not None and column.score[shot] > threshold),
        key=lambda column: _sort_key(column, shot),
        reverse=True,
    )
    own_causes = [
        column for column in anomalous if not _follows(column, anomalous, features, shot)
    ] or anomalous  # Each is a consequence of another one: nobody knows which is the cause.
    for kind in dict.fromkeys(column.kind for column in own_causes):
        if kind is not None:
            leading = [column for column in own_causes if column.kind is kind]
            yield _finding(shot, place, kind, leading, columns, features, threshold)


def _follows(
    column: FeatureColumn, anomalous: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int
) -> bool:
    """Return whether the deviation of a column is only a consequence of another one in the same shot."""
    if column.kind is None:
        return False
    own, common = CAUSES.get(column.kind, frozenset()), COMMON_CAUSES.get(column.kind, frozenset())
    critical = _severity(column, features, shot) is Severity.CRITICAL
    on_device = [other for other in anomalous if other.device == column.device]
    if column.kind in _SPOTS and _is_smaller_spot(column, on_device, features, shot):
        return True
    if any(
        other.kind in own and not (critical and _severity(other, features, shot) is Severity.INFO)
        for other in on_device
    ):
        return True
    return any(_outweighs(other, column, anomalous, shot) for other in on_device) or any(
        other.kind in common for other in anomalous
    )


def _is_smaller_spot(
    column: FeatureColumn, on_device: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int
) -> bool:
    """Return whether a bright deviation of the profile is a consequence of a dark one, or the reverse.

    A bright or dark spot changes the average of the rest of the frame, and so leaves a smaller deviation of
    the opposite sign. It also lies in a column and a row, and changes their mean a little. So the kind with
    the larger share of the peak is the cause. What has no place on the frame is compared by its score.
    """
    of_kind = [other for other in on_device if other.kind is column.kind]
    others = [other for other in on_device if other.kind in _SPOTS and other.kind is not column.kind]
    if _has_place(column):
        largest = _largest(of_kind, features, shot)
        if _largest(others, features, shot) > largest:
            return True
        others = [other for other in others if not _has_place(other)]
    strongest = max(_sort_key(other, shot) for other in of_kind)
    return any(_sort_key(other, shot) > strongest for other in others)


def _has_place(column: FeatureColumn) -> bool:
    return bool(INDICATORS[column.feature].spot_size)


def _largest(columns: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int) -> float:
    """Return the largest share of the peak of the deviations that have a place on the frame."""
    return max(
        (abs(_size(column, features, shot)) for column in columns if _has_place(column)),
        default=0.0,
    )


def _outweighs(
    other: FeatureColumn, column: FeatureColumn, anomalous: Sequence[FeatureColumn], shot: int
) -> bool:
    """Return whether `other` is the cause of `column`, where each of the two kinds can cause the other.

    A clipped or widened beam loses light, and a fainter beam has less light at its rim. If other devices lose
    energy too, energy is the cause; otherwise the kind with the higher score is.
    """
    kinds = {other.kind, column.kind}
    if AnomalyKind.ENERGY not in kinds or not kinds & _OF_PROFILE:
        return False
    energy_is_common = len({c.device for c in anomalous if c.kind is AnomalyKind.ENERGY}) > 1
    if energy_is_common:
        return other.kind is AnomalyKind.ENERGY
    return bool(other.score[shot] > column.score[shot])


def _sort_key(column: FeatureColumn, shot: int) -> tuple[float, float]:
    """Return score and deviation for sorting: scores are limited to a maximum, deviations are not."""
    return float(column.score[shot]), abs(_sigmas(column, shot))


def _finding(
    shot: int,
    place: str,
    kind: AnomalyKind,
    leading: Sequence[FeatureColumn],
    columns: Sequence[FeatureColumn],
    features: Mapping[str, Features],
    threshold: float,
) -> Finding:
    strongest = leading[0]
    extrapolated = float(strongest.score[shot])
    claimed = claim(extrapolated, strongest.baseline.independent, threshold)
    devices = tuple(dict.fromkeys(column.device for column in leading))
    severity, gravest = _gravest(leading, features, shot)
    head = _contribution(gravest, shot)
    measured = _measured(gravest, features, shot)
    return Finding(
        shot=shot,
        kind=kind,
        severity=severity,
        devices=devices,
        score=claimed.score,
        extrapolated=extrapolated,
        provisional=claimed.provisional,
        threshold=threshold,
        why=explain(
            place,
            head,
            showing=len(devices),
            watching=_watching(kind, columns, shot),
            measured=measured,
        )
        + f"; {chance_of(SHOTS_PER_HOUR / 10**claimed.score, claimed)}",
        contributions=_contributions(devices, columns, shot),
    )


def _gravest(
    leading: Sequence[FeatureColumn], features: Mapping[str, Features], shot: int
) -> tuple[Severity, FeatureColumn]:
    """Return the severity of the most urgent deviation, and the first column that has it.

    The strongest deviation is not always the most urgent: the middle of a hot spot is a bright pixel, too,
    of which less than 27 % of the peak is no danger.
    """
    severities = [_severity(column, features, shot) for column in leading]
    worst = max(severities, key=_SEVERITIES.index)
    return worst, leading[severities.index(worst)]


def _severity(column: FeatureColumn, features: Mapping[str, Features], shot: int) -> Severity:
    return severity_of_deviation(column.feature, _size(column, features, shot))


def _size(column: FeatureColumn, features: Mapping[str, Features], shot: int) -> float:
    return size_of(_contribution(column, shot), _measured(column, features, shot))


def _measured(column: FeatureColumn, features: Mapping[str, Features], shot: int) -> dict[str, float]:
    """Return all values that were measured in the shot on the column's device."""
    return {name: float(values[shot]) for name, values in features[column.device].items()}


def _contributions(
    devices: Sequence[str], columns: Sequence[FeatureColumn], shot: int
) -> tuple[Contribution, ...]:
    """Return the large deviations on these devices, strongest first."""
    unusual = [
        _contribution(column, shot)
        for column in columns
        if column.device in devices and abs(_sigmas(column, shot)) >= EXPLAINING_SIGMAS
    ]
    return tuple(sorted(unusual, key=lambda each: -abs(each.sigmas))[:MOST_CONTRIBUTIONS])


def _sigmas(column: FeatureColumn, shot: int) -> float:
    """Return the deviation in standard deviations; NaN without a value, so that every comparison is false."""
    return float((column.values[shot] - column.baseline.centre) / column.baseline.sigma)


def _contribution(column: FeatureColumn, shot: int) -> Contribution:
    return Contribution(
        device=column.device,
        feature=column.feature,
        value=float(column.values[shot]),
        reference=column.baseline.centre,
        sigmas=_sigmas(column, shot),
        unit=FEATURE_SPECS[column.feature].unit,
    )


def _watching(kind: AnomalyKind, columns: Sequence[FeatureColumn], shot: int) -> int:
    """Return how many devices could have shown that kind in the shot."""
    return len({c.device for c in columns if c.kind is kind and np.isfinite(c.values[shot])})
