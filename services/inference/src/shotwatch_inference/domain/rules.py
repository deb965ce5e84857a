"""The rules: anomalies that need no model.

| kind | when |
|---|---|
| missing_member | a device that is ON has no record in the shot |
| device_state | a record is refused because its device is in a broken state of the facility file |
| black_frame, frozen_frame, saturated_frame | validation refused the frame for that reason |
| bad_record | validation refused the record because its data cannot be used |
| energy_disagreement | the two halves of a meter differ by more than the facility file allows |

A device that is switched off or on stand-by is not an anomaly, nor is a second sample at one pulse.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from shotwatch_detector.arrays import Features
from shotwatch_detector.finding import Finding
from shotwatch_detector.severity import severity_of_rule
from shotwatch_shots.batch import Member, ShotBatch
from shotwatch_shots.facility import Facility
from shotwatch_shots.vocabulary import AnomalyKind, RecordReason

_KINDS = {
    RecordReason.BLACK_FRAME: AnomalyKind.BLACK_FRAME,
    RecordReason.FROZEN_FRAME: AnomalyKind.FROZEN_FRAME,
    RecordReason.SATURATED_FRAME: AnomalyKind.SATURATED_FRAME,
    RecordReason.STATE_MISSING: AnomalyKind.BAD_RECORD,
    RecordReason.DATA_MISSING: AnomalyKind.BAD_RECORD,
    RecordReason.WRONG_SHAPE: AnomalyKind.BAD_RECORD,
    RecordReason.WRONG_TYPE: AnomalyKind.BAD_RECORD,
    RecordReason.OUT_OF_RANGE: AnomalyKind.BAD_RECORD,
    RecordReason.NOT_FINITE: AnomalyKind.BAD_RECORD,
    RecordReason.NO_SPECTRUM: AnomalyKind.BAD_RECORD,
    RecordReason.NO_ENERGY: AnomalyKind.BAD_RECORD,
}

_SENTENCES = {
    AnomalyKind.MISSING_MEMBER: "no record of {devices} in {place}, though switched on",
    AnomalyKind.DEVICE_STATE: "{devices} in {place}: {detail}",
    AnomalyKind.BLACK_FRAME: "black frame from {devices} in {place}",
    AnomalyKind.FROZEN_FRAME: "frozen frame from {devices} in {place}: the same picture again",
    AnomalyKind.SATURATED_FRAME: "saturated frame from {devices} in {place}",
    AnomalyKind.BAD_RECORD: "record of {devices} in {place} cannot be used: {detail}",
    AnomalyKind.ENERGY_DISAGREEMENT: "the two energies of {devices} in {place} disagree: {detail}",
}
_DISAGREEMENT = "energy_disagreement"
_NAMED_DEVICES = 3
"""Maximum number of devices named in a sentence."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A violation of one rule by one device in one shot."""

    shot: int
    kind: AnomalyKind
    device: str
    detail: str = ""
    score: float = 1.0
    threshold: float = 0.0


def apply_rules(
    shots: ShotBatch, features: Mapping[str, Features], place: str, facility: Facility
) -> list[Finding]:
    """Apply the rules to a batch of shots, and return one finding per shot and kind.

    Args:
        shots: the batch.
        features: device → its measured features, one value per shot.
        place: the operators' name of the place.
        facility: defines which states are broken, and how far two energies may differ.

    The score of a finding is the number of devices, with threshold 0. For energies it is the largest
    disagreement, with the facility's limit as threshold.
    """
    cases = [case for member in shots.members for case in _of_member(member, facility)]
    cases += _of_energies(features, facility.energy_disagreement)
    cases.sort(key=lambda case: (case.shot, case.kind, -case.score))
    return [
        _finding(list(together), place)
        for _, together in groupby(cases, key=lambda case: (case.shot, case.kind))
    ]


def _of_member(member: Member, facility: Facility) -> Iterator[_Case]:
    for shot in np.flatnonzero(~member.present & member.on):
        yield _Case(int(shot), AnomalyKind.MISSING_MEMBER, member.device)
    for n, text in enumerate(member.reasons):
        reason, _, detail = text.partition(": ")
        kind = _kind(reason, detail, facility)
        if kind is not None:
            for shot in np.flatnonzero(member.refused_for(n)):
                yield _Case(int(shot), kind, member.device, _described(kind, text, detail))


def _kind(reason: str, detail: str, facility: Facility) -> AnomalyKind | None:
    if reason == RecordReason.STATE_NOT_ON:
        return AnomalyKind.DEVICE_STATE if detail in facility.state.broken else None
    return _KINDS[RecordReason(reason)]


def _described(kind: AnomalyKind, reason: str, state: str) -> str:
    return f"state {state}" if kind is AnomalyKind.DEVICE_STATE else reason


def _of_energies(features: Mapping[str, Features], limit: float) -> Iterator[_Case]:
    for device, columns in features.items():
        values = columns.get(_DISAGREEMENT, np.empty(0))
        for shot in np.flatnonzero(values > limit):
            value = float(values[shot])
            yield _Case(
                shot=int(shot),
                kind=AnomalyKind.ENERGY_DISAGREEMENT,
                device=device,
                detail=f"{value:.0%} apart, {limit:.0%} allowed".replace("%", " %"),
                score=value,
                threshold=limit,
            )


def _finding(cases: list[_Case], place: str) -> Finding:
    """Return the finding for all devices that break one rule in one shot; the first case is the worst."""
    worst = cases[0]
    devices = tuple(case.device for case in cases)
    by_limit = worst.kind is AnomalyKind.ENERGY_DISAGREEMENT
    return Finding(
        shot=worst.shot,
        kind=worst.kind,
        severity=severity_of_rule(worst.kind),
        devices=devices,
        score=worst.score if by_limit else float(len(cases)),
        threshold=worst.threshold,
        why=_SENTENCES[worst.kind].format(devices=_names(devices), place=place, detail=worst.detail),
    )


def _names(devices: Sequence[str]) -> str:
    more = len(devices) - _NAMED_DEVICES
    named = ", ".join(devices[:_NAMED_DEVICES])
    return f"{named} and {more} more" if more > 0 else named
