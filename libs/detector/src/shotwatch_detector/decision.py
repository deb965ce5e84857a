"""The decision: turn features and scores into findings, one for each kind of anomaly in a shot."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.claims import claim, most_claimed
from shotwatch_detector.columns import Column, DeviceBaselines, columns_of
from shotwatch_detector.finding import Finding
from shotwatch_detector.sentences import chance_of, explain
from shotwatch_detector.severity import severity_of_deviation
from shotwatch_detector.sizes import size_of
from shotwatch_detector.statistics import RUN, last_of_run, medians_of_runs
from shotwatch_shots.event import Contribution
from shotwatch_shots.features import FEATURE_SPECS
from shotwatch_shots.vocabulary import AnomalyKind

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
not hold enough light to move the beam.
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

    It is limited to what may be claimed (`most_claimed`).
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


def _claims(columns: Sequence[Column], threshold: float) -> Iterator[Values]:
    """Yield the scores of the columns that raise alarms, limited to what may be claimed."""
    for column in columns:
        if column.kind is not None:
            yield np.minimum(column.score, most_claimed(column.baseline.independent, threshold))


def _findings(
    shot: int,
    place: str,
    columns: Sequence[Column],
    features: Mapping[str, Features],
    threshold: float,
) -> Iterable[Finding]:
    anomalous = sorted(
        (column for column in columns if column.kind is not None and column.score[shot] > threshold),
        key=lambda column: _oddness(column, shot),
        reverse=True,
    )
    own_causes = [column for column in anomalous if not _follows(column, anomalous, shot)]
    for kind in dict.fromkeys(column.kind for column in own_causes):
        if kind is not None:
            leading = [column for column in own_causes if column.kind is kind]
            yield _finding(shot, place, kind, leading, columns, features, threshold)


def _follows(column: Column, anomalous: Sequence[Column], shot: int) -> bool:
    """Return whether the deviation of a column is only a consequence of another one in the same shot."""
    if column.kind is None:
        return False
    own, common = CAUSES.get(column.kind, frozenset()), COMMON_CAUSES.get(column.kind, frozenset())
    return any(
        (other.device == column.device and (other.kind in own or _outweighs(other, column, anomalous, shot)))
        or other.kind in common
        for other in anomalous
    )


def _outweighs(other: Column, column: Column, anomalous: Sequence[Column], shot: int) -> bool:
    """Return whether `other` is the cause of `column`, where each of the two kinds can cause the other.

    A bright or dark spot changes the average of the rest of the frame, and so leaves a weaker deviation of
    the opposite sign: the larger one is the spot. A clipped or widened beam loses light, and a fainter beam
    has less light at its rim. If other devices lose energy too, energy is the cause; otherwise the kind with
    the higher score is.
    """
    kinds = {other.kind, column.kind}
    if kinds == _SPOTS:
        return _oddness(other, shot) > _oddness(column, shot)
    if AnomalyKind.ENERGY not in kinds or not kinds & _OF_PROFILE:
        return False
    energy_is_common = len({c.device for c in anomalous if c.kind is AnomalyKind.ENERGY}) > 1
    if energy_is_common:
        return other.kind is AnomalyKind.ENERGY
    return bool(other.score[shot] > column.score[shot])


def _oddness(column: Column, shot: int) -> tuple[float, float]:
    """Return score and deviation for sorting: scores are limited to a maximum, deviations are not."""
    return float(column.score[shot]), abs(_sigmas(column, shot))


def _finding(
    shot: int,
    place: str,
    kind: AnomalyKind,
    leading: Sequence[Column],
    columns: Sequence[Column],
    features: Mapping[str, Features],
    threshold: float,
) -> Finding:
    strongest = leading[0]
    extrapolated = float(strongest.score[shot])
    claimed = claim(extrapolated, strongest.baseline.independent, threshold)
    devices = tuple(dict.fromkeys(column.device for column in leading))
    head = _contribution(strongest, shot)
    measured = {name: float(values[shot]) for name, values in features[strongest.device].items()}
    return Finding(
        shot=shot,
        kind=kind,
        severity=severity_of_deviation(head.feature, size_of(head, measured)),
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


def _contributions(devices: Sequence[str], columns: Sequence[Column], shot: int) -> tuple[Contribution, ...]:
    """Return the large deviations on these devices, strongest first."""
    unusual = [
        _contribution(column, shot)
        for column in columns
        if column.device in devices and abs(_sigmas(column, shot)) >= EXPLAINING_SIGMAS
    ]
    return tuple(sorted(unusual, key=lambda each: -abs(each.sigmas))[:MOST_CONTRIBUTIONS])


def _sigmas(column: Column, shot: int) -> float:
    """Return the deviation in standard deviations; NaN without a value, so that every comparison is false."""
    return float((column.values[shot] - column.baseline.centre) / column.baseline.sigma)


def _contribution(column: Column, shot: int) -> Contribution:
    return Contribution(
        device=column.device,
        feature=column.feature,
        value=float(column.values[shot]),
        reference=column.baseline.centre,
        sigmas=_sigmas(column, shot),
        unit=FEATURE_SPECS[column.feature].unit,
    )


def _watching(kind: AnomalyKind, columns: Sequence[Column], shot: int) -> int:
    """Return how many devices could have shown that kind in the shot."""
    return len({c.device for c in columns if c.kind is kind and np.isfinite(c.values[shot])})
