"""Findings of shifts of levels: one for each kind of anomaly and shot, as for single shots."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from shotwatch_detector.claims import claim
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_detector.finding import Finding
from shotwatch_detector.levels import Flagged
from shotwatch_detector.sentences import chance_of, explain
from shotwatch_detector.severity import severity_of_deviation
from shotwatch_detector.sizes import size_of
from shotwatch_detector.thresholds import Share
from shotwatch_shots.event import Contribution
from shotwatch_shots.features.catalogue import FEATURE_SPECS, INDICATORS
from shotwatch_shots.levels import LevelShift
from shotwatch_shots.pulses import Times, instant
from shotwatch_shots.vocabulary import AnomalyKind


def flagged_shots(findings: Iterable[Finding], shots: int) -> Flagged:
    """Return kind → the shots in which it was found: (shots,)."""
    flagged: dict[AnomalyKind, np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
    for finding in findings:
        flagged.setdefault(finding.kind, np.zeros(shots, bool))[finding.shot] = True
    return flagged


def findings_of_shifts(
    shifts: Iterable[LevelShift],
    place: str,
    pulses: Times,
    baselines: DeviceBaselines,
    share: Share,
    flagged: Flagged,
) -> list[Finding]:
    """Return the findings of shifts in a batch, except where a shot of the shift shows it by itself.

    Args:
        shifts: those that the batch completed.
        place: name of the place for operators.
        pulses: of the batch, epoch ms: (n,).
        baselines: they know how many independent shots were learned from.
        share: of the sequential tests of the series.
        flagged: shots that raised an alarm by themselves.
    """
    return [
        _finding(shot, kind, together, place, baselines, share)
        for (shot, kind), together in _by_shot_and_kind(shifts, pulses)
        if not _is_shown_alone(shot, kind, together, pulses, flagged)
    ]


def _is_shown_alone(
    shot: int, kind: AnomalyKind, shifts: Sequence[LevelShift], pulses: Times, flagged: Flagged
) -> bool:
    """Return whether a shot of shifts that `shot` completes raised an alarm of their kind by itself."""
    since = min(shift.since for shift in shifts)
    during = (pulses >= since) & (pulses <= pulses[shot])
    return kind in flagged and bool(flagged[kind][during].any())


def _by_shot_and_kind(
    shifts: Iterable[LevelShift], pulses: Times
) -> Iterator[tuple[tuple[int, AnomalyKind], list[LevelShift]]]:
    shots: Mapping[int, int] = {pulse: shot for shot, pulse in enumerate(pulses.tolist())}

    def shot_and_kind(shift: LevelShift) -> tuple[int, AnomalyKind]:
        kind = INDICATORS[shift.feature].kind
        assert kind is not None
        return shots[shift.time], kind

    for key, together in groupby(sorted(shifts, key=shot_and_kind), shot_and_kind):
        yield key, sorted(together, key=lambda shift: (shift.exceeds, shift.score), reverse=True)


def _finding(
    shot: int,
    kind: AnomalyKind,
    shifts: Sequence[LevelShift],
    place: str,
    baselines: DeviceBaselines,
    share: Share,
) -> Finding:
    """Return the finding for shifts of one kind in one shot, of which the first is the strongest."""
    strongest = shifts[0]
    baseline = baselines.get(strongest.device, {}).get(strongest.feature)
    independent = baseline.independent if baseline else 1
    claimed = claim(strongest.score, independent, strongest.threshold, by_past=0.0)
    devices = tuple(dict.fromkeys(shift.device for shift in shifts))
    head = _contribution(strongest)
    return Finding(
        shot=shot,
        kind=kind,
        severity=severity_of_deviation(strongest.feature, size_of(head, {})),
        devices=devices,
        score=claimed.score,
        extrapolated=strongest.score,
        provisional=claimed.provisional,
        threshold=strongest.threshold,
        why=f"{explain(place, head, len(devices), strongest.watching, {})}, as a step or drift over "
        f"{strongest.shots} shots since {instant(strongest.since):%Y-%m-%d %H:%M:%S} UTC; "
        f"{chance_of(share.per_hour_of(claimed.stated), claimed)}",
        contributions=tuple(map(_contribution, shifts)),
    )


def _contribution(shift: LevelShift) -> Contribution:
    return Contribution(
        device=shift.device,
        feature=shift.feature,
        value=shift.reference + shift.deviation,
        reference=shift.reference,
        sigmas=shift.deviation / shift.sigma,
        unit=FEATURE_SPECS[shift.feature].unit,
    )
