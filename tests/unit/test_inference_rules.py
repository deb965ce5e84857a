"""The rules, each with a shot that breaks it and one that does not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_detector.arrays import Features
from shotwatch_detector.finding import Finding
from shotwatch_inference.domain.rules import apply_rules
from shotwatch_shots.batch import ABSENT, Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef
from shotwatch_shots.vocabulary import AnomalyKind, RecordReason, Severity

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
BLOCK = BlockRef(bucket="blocks", key="k", object_id="o", object_key="f.h5")
SHOTS = 3


def member(
    device: str = "Camera-1",
    reasons: Sequence[str] = (),
    verdict: Sequence[int] = (0, 0, 0),
    source: Sequence[int] = (0, 0, 0),
    on: Sequence[bool] = (True, True, True),
) -> Member:
    return Member(
        device=device,
        kind=DeviceKind.CAMERA,
        blocks=[BLOCK],
        source=list(source),
        row=[0] * SHOTS,
        reasons=list(reasons),
        verdict=list(verdict),
        on=list(on),
    )


def findings(*members: Member, measured: Mapping[str, Features] | None = None) -> list[Finding]:
    shots = ShotBatch(
        batch_id="b",
        window_id="w",
        series=ShotSeries.parse("LA-A1-11-100ms"),
        pulses=[0, 100, 200],
        revisions=[1] * SHOTS,
        complete=[True] * SHOTS,
        members=list(members),
        last_arrival=0,
    )
    return apply_rules(shots, measured or {}, "LA A1 11", FACILITY)


def test_valid_records_break_no_rule() -> None:
    assert findings(member()) == []


def test_a_device_that_is_on_and_has_no_record_is_missing() -> None:
    (finding,) = findings(member(source=[0, ABSENT, 0]))
    assert (finding.shot, finding.kind, finding.severity) == (1, AnomalyKind.MISSING_MEMBER, Severity.WARNING)
    assert finding.devices == ("Camera-1",)
    assert finding.score > finding.threshold
    assert "no record of Camera-1 in LA A1 11" in finding.why


def test_a_device_that_is_off_is_not_missing() -> None:
    assert findings(member(source=[0, ABSENT, 0], on=[True, False, True])) == []


@pytest.mark.parametrize("state", ["FAULT", "UNREACHABLE"])
def test_a_broken_state_is_critical(state: str) -> None:
    (finding,) = findings(member(reasons=[f"state_not_on: {state}"], verdict=[0, 0, 1]))
    assert (finding.shot, finding.kind, finding.severity) == (2, AnomalyKind.DEVICE_STATE, Severity.CRITICAL)
    assert state in finding.why


@pytest.mark.parametrize("state", ["STANDBY", "OFF", "RUNNING"])
def test_a_state_that_is_not_broken_is_no_anomaly(state: str) -> None:
    assert findings(member(reasons=[f"state_not_on: {state}"], verdict=[1, 1, 1])) == []


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (RecordReason.BLACK_FRAME, AnomalyKind.BLACK_FRAME),
        (RecordReason.FROZEN_FRAME, AnomalyKind.FROZEN_FRAME),
        (RecordReason.SATURATED_FRAME, AnomalyKind.SATURATED_FRAME),
        (RecordReason.WRONG_SHAPE, AnomalyKind.BAD_RECORD),
        (RecordReason.STATE_MISSING, AnomalyKind.BAD_RECORD),
        (RecordReason.NO_ENERGY, AnomalyKind.BAD_RECORD),
    ],
)
@pytest.mark.parametrize("detail", ["", ": 1 of 3"])
def test_a_refused_record_is_an_anomaly_of_its_kind(
    reason: RecordReason, kind: AnomalyKind, detail: str
) -> None:
    (finding,) = findings(member(reasons=["state_not_on: OFF", reason + detail], verdict=[2, 0, 0]))
    assert (finding.shot, finding.kind) == (0, kind)


def test_every_reason_for_which_records_are_refused_is_judged() -> None:
    for reason in RecordReason:
        findings(member(reasons=[reason], verdict=[1, 1, 1]))


def test_devices_that_break_the_same_rule_in_a_shot_are_one_finding() -> None:
    devices = [member(f"Camera-{n}", source=[ABSENT, 0, 0]) for n in range(5)]
    (finding,) = findings(*devices)
    assert len(finding.devices) == 5
    assert finding.score == 5
    assert "Camera-2 and 2 more" in finding.why


def test_two_rules_broken_in_a_shot_are_two_findings() -> None:
    found = findings(
        member("Camera-1", source=[0, ABSENT, 0]),
        member("Camera-2", reasons=["black_frame"], verdict=[0, 1, 0]),
    )
    assert {finding.kind for finding in found} == {AnomalyKind.MISSING_MEMBER, AnomalyKind.BLACK_FRAME}


def test_energies_that_differ_by_more_than_allowed_disagree() -> None:
    (finding,) = findings(measured={"EM-1": {"energy_disagreement": np.array([0.05, 0.5, np.nan])}})
    assert (finding.shot, finding.kind) == (1, AnomalyKind.ENERGY_DISAGREEMENT)
    assert (finding.score, finding.threshold) == (0.5, FACILITY.energy_disagreement)
    assert "50 % apart, 20 % allowed" in finding.why
