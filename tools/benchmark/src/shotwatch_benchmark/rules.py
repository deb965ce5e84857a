"""Anomalies that rules find: whether validation and inference's rules find each of them, and nothing else.

They are measured through the functions of these services. A corrupt file is not among them: it is refused
when it is read, before any shot is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_benchmark.lasers import LIMIT, SHAPE
from shotwatch_benchmark.observing import PLACE
from shotwatch_benchmark.recorder import SENSOR, record
from shotwatch_benchmark.scenes import Scene
from shotwatch_detector.arrays import Frames
from shotwatch_inference.domain.rules import apply_rules
from shotwatch_shots.batch import ABSENT, Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind, ImageDigest
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import Times
from shotwatch_shots.records import BlockRef, DeviceRecords
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.frames import expose
from shotwatch_simulator.noise import white
from shotwatch_validate.domain.judge import judge

GROUP = "LA_A1_11-Camera_1-Camera-1"
SERIES = ShotSeries.parse("LA-A1-11-100ms")
BLOCK = BlockRef(bucket="", key="", object_id="", object_key="")
SATURATED = 4.0
"""Brightness relative to normal."""

Anomalous = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The shots that a rule found."""

    anomaly: str
    shots: int
    """Number of anomalous shots; there are as many normal ones."""
    found: float
    """Share of the anomalous shots that are reported as the right kind."""
    false: float
    """Share of the normal shots that break any rule."""


def measure_rules(scene: Scene, pulses: Times, facility: Facility) -> list[RuleResult]:
    """Measure each rule on shots of which every second one is anomalous; the first is normal."""
    anomalous = np.arange(len(pulses)) % 2 == 1
    normal = record(scene, pulses).frames
    on, chatter = np.zeros(len(pulses), np.int64), anomalous.astype(np.int64)
    return [
        _result(
            "black frame",
            AnomalyKind.BLACK_FRAME,
            facility,
            anomalous,
            _black(normal, scene, pulses, anomalous),
            on,
        ),
        _result(
            "frozen frame", AnomalyKind.FROZEN_FRAME, facility, anomalous, _frozen(normal, anomalous), on
        ),
        _result(
            "saturated frame",
            AnomalyKind.SATURATED_FRAME,
            facility,
            anomalous,
            _saturated(normal, anomalous),
            on,
        ),
        _result("state chatter", AnomalyKind.DEVICE_STATE, facility, anomalous, normal, chatter),
        _result("missing device", AnomalyKind.MISSING_MEMBER, facility, anomalous, normal, on, anomalous),
    ]


def _black(normal: Frames, scene: Scene, pulses: Times, anomalous: Anomalous) -> Frames:
    dark = np.zeros((len(pulses), *SHAPE), np.float32)
    black = expose(dark, SENSOR, white(pulses, SHAPE, scene.seed, scene.laser.name))
    return np.where(anomalous[:, None, None], black, normal)


def _frozen(normal: Frames, anomalous: Anomalous) -> Frames:
    return np.where(anomalous[:, None, None], np.roll(normal, 1, axis=0), normal)


def _saturated(normal: Frames, anomalous: Anomalous) -> Frames:
    brighter = np.minimum(normal * SATURATED, LIMIT).astype(np.uint16)
    return np.where(anomalous[:, None, None], brighter, normal)


def _result(
    anomaly: str,
    kind: AnomalyKind,
    facility: Facility,
    anomalous: Anomalous,
    frames: Frames,
    state: NDArray[np.int64],
    absent: Anomalous | None = None,
) -> RuleResult:
    """Pass frames and states (index into ON and FAULT) through validation and the rules."""
    digest = ImageDigest.of({"image": frames}, np.ones(len(frames), np.bool_), facility.frames.saturated_at)
    records = DeviceRecords(
        device=GROUP,
        kind=DeviceKind.CAMERA,
        series=SERIES,
        block=BLOCK,
        times=np.arange(len(frames)),
        states=[facility.state.on, "FAULT"],
        state=state,
        problems=[],
        digest=digest,
    )
    judged = judge(records, facility)
    source = np.where(absent, ABSENT, 0) if absent is not None else np.zeros(len(frames), np.int64)
    member = _member(source.tolist(), judged.reasons, judged.verdict.tolist())
    findings = apply_rules(_shots(member), {}, PLACE, facility)
    right = {finding.shot for finding in findings if finding.kind is kind}
    of_anomalous, of_normal = (
        set(np.flatnonzero(anomalous).tolist()),
        set(np.flatnonzero(~anomalous).tolist()),
    )
    false = {finding.shot for finding in findings} & of_normal
    return RuleResult(
        anomaly, len(of_anomalous), len(right & of_anomalous) / len(of_anomalous), len(false) / len(of_normal)
    )


def _member(source: list[int], reasons: Sequence[str], verdict: list[int]) -> Member:
    shots = len(source)
    return Member(
        device=GROUP,
        kind=DeviceKind.CAMERA,
        blocks=[BLOCK],
        source=source,
        row=list(range(shots)),
        reasons=list(reasons),
        verdict=[0 if where == ABSENT else code for where, code in zip(source, verdict, strict=True)],
        on=[True] * shots,
    )


def _shots(member: Member) -> ShotBatch:
    shots = len(member.source)
    return ShotBatch(
        batch_id="",
        window_id="",
        series=SERIES,
        pulses=list(range(shots)),
        revisions=[1] * shots,
        complete=[True] * shots,
        members=[member],
        last_arrival=0,
    )
