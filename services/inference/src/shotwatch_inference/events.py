"""Conversion of findings and incidents to anomaly events of the public contract."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shotwatch_detector.finding import Finding
from shotwatch_detector.severity import RULE_KINDS
from shotwatch_inference.domain.incidents import Notification, Observation
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.event import Anomaly, AnomalyEvent, Evidence, ModelRef
from shotwatch_shots.identity import event_id
from shotwatch_shots.incidents import Incident
from shotwatch_shots.pulses import shot_id
from shotwatch_shots.vocabulary import SLOW_CHANGES, AnomalyKind, Phase, Severity


@dataclass(frozen=True, slots=True)
class Publication:
    """The attributes that all events of a batch have in common."""

    facility: str
    model: ModelRef | None
    trace_id: str
    traceparent: str
    made_at: int
    """Epoch ms."""

    def event(self, anomaly: Anomaly, event_id: str) -> AnomalyEvent:
        """Return the event for an anomaly of the batch."""
        return AnomalyEvent.about(anomaly, event_id, self.facility, self.traceparent, self.made_at)


def observations_of(findings: Iterable[Finding], batch: ShotBatch) -> list[Observation]:
    """Return the findings with the times of their shots, and the ids that their events would have."""
    ids, pulses, revisions = batch.shot_ids, batch.pulses.tolist(), batch.revisions.tolist()
    return [
        Observation(
            pulses[finding.shot], event_id(ids[finding.shot], finding.kind, revisions[finding.shot]), finding
        )
        for finding in findings
    ]


def event_of(
    notification: Notification,
    batch: ShotBatch,
    scored: Callable[[int], Collection[str]],
    publication: Publication,
) -> AnomalyEvent:
    """Return the event that notifies of an incident, with sequence 0 until one is reserved.

    Its id is derived from the shot that it shows, or from the incident that it ends. Published again, it is
    the same event. `scored` returns the cameras of a shot that the model scored.
    """
    if notification.observation is None:
        return _closing(notification.incident, batch, publication)
    finding = notification.observation.finding
    anomaly = _anomaly_of(finding, notification, batch, scored(finding.shot), publication)
    return publication.event(anomaly, notification.observation.event_id)


def _anomaly_of(
    finding: Finding,
    notification: Notification,
    batch: ShotBatch,
    scored: Collection[str],
    publication: Publication,
) -> Anomaly:
    shot = batch.shot_ids[finding.shot]
    camera = camera_of(finding, batch)
    image = f"/api/v1/shots/{shot}/devices/{camera}" if camera else None
    return Anomaly(
        sequence=0,
        shot=shot,
        revision=int(batch.revisions[finding.shot]),
        time=int(batch.pulses[finding.shot]),
        place=batch.series.place,
        interval=batch.series.interval,
        kind=finding.kind,
        severity=notification.incident.severity,
        devices=list(finding.devices),
        score=finding.score,
        threshold=finding.threshold,
        why=finding.why + _lasting(notification.incident),
        contributions=list(finding.contributions),
        evidence=_evidence(finding, batch),
        image_url=f"{image}/image" if image else None,
        residual_url=f"{image}/residual" if image and camera in scored else None,
        model=None if finding.kind in RULE_KINDS else publication.model,
        provisional=finding.provisional,
        **_standing(notification.incident, notification.phase),
        supersedes=[],
        trace_id=publication.trace_id,
    )


def _closing(incident: Incident, batch: ShotBatch, publication: Publication) -> AnomalyEvent:
    """Return the event that closes an incident, about its last shot."""
    anomaly = Anomaly(
        sequence=0,
        shot=shot_id(batch.series, incident.until),
        revision=1,
        time=incident.until,
        place=batch.series.place,
        interval=batch.series.interval,
        kind=incident.kind,
        severity=Severity.INFO,
        devices=list(incident.devices),
        score=0.0,
        threshold=0.0,
        why=f"{incident.kind.replace('_', ' ')} is over{_lasting(incident)}",
        contributions=[],
        evidence=[],
        image_url=None,
        residual_url=None,
        model=None if incident.kind in RULE_KINDS else publication.model,
        **_standing(incident, Phase.CLOSED),
        supersedes=[],
        trace_id=publication.trace_id,
    )
    id_ = event_id(incident.id, Phase.CLOSED, 1)
    return publication.event(anomaly, id_)


def _standing(incident: Incident, phase: Phase) -> dict[str, Any]:
    return {
        "incident": incident.id,
        "phase": phase,
        "since": incident.since,
        "until": incident.until,
        "shots": incident.shots,
    }


def _lasting(incident: Incident) -> str:
    if incident.shots == 1:
        return ""
    seconds = (incident.until - incident.since) / 1000
    return f", in {incident.shots} shots of {seconds:.3g} s"


def superseding(event: AnomalyEvent, earlier: Iterable[AnomalyEvent]) -> AnomalyEvent:
    """Return the event with the ids of events that it supersedes: same shot and kind, earlier revision.

    Only an event that opens an incident supersedes others. An event that updates an incident belongs to its
    opening event.
    """
    if event.data.phase not in (Phase.OPENED, Phase.PASSED):
        return event
    replaced = [
        each.id
        for each in earlier
        if (each.subject, each.data.kind) == (event.subject, event.data.kind)
        and each.data.revision < event.data.revision
        and each.data.phase is not Phase.CLOSED
    ]
    return event.model_copy(update={"data": event.data.model_copy(update={"supersedes": replaced})})


def withdrawals(
    batch: ShotBatch,
    findings: Iterable[Finding],
    earlier: Sequence[AnomalyEvent],
    publication: Publication,
) -> list[AnomalyEvent]:
    """Return an event for each event of an earlier revision that no longer holds, to withdraw it."""
    ids = batch.shot_ids
    revisions = dict(zip(ids, batch.revisions.tolist(), strict=True))
    still_true = {(ids[finding.shot], finding.kind) for finding in findings}
    superseded = {id_ for event in earlier for id_ in event.data.supersedes}
    return [
        _withdrawal(event, revisions[event.subject], publication)
        for event in earlier
        if (event.subject, event.data.kind) not in still_true
        and event.data.kind not in SLOW_CHANGES | {AnomalyKind.SUPERSEDED}
        and event.data.phase is not Phase.CLOSED
        and event.data.revision < revisions[event.subject]
        and event.id not in superseded
    ]


def _withdrawal(event: AnomalyEvent, revision: int, publication: Publication) -> AnomalyEvent:
    anomaly = event.data.model_copy(
        update={
            "revision": revision,
            "kind": AnomalyKind.SUPERSEDED,
            "severity": Severity.INFO,
            "why": f"{event.data.kind} no longer holds: the shot was judged again as revision {revision}",
            "contributions": [],
            "evidence": [],
            "phase": Phase.CLOSED,
            "supersedes": [event.id],
            "model": publication.model,
            "provisional": False,
            "trace_id": publication.trace_id,
        }
    )
    id_ = event_id(event.id, AnomalyKind.SUPERSEDED, revision)
    return publication.event(anomaly, id_)


def _evidence(finding: Finding, batch: ShotBatch) -> list[Evidence]:
    records = (member.of_shot(finding.shot) for member in batch.members if member.device in finding.devices)
    return [
        Evidence(
            device=record.device,
            block=f"{record.block.bucket}/{record.block.key}",
            row=record.row,
            raw_object=record.block.object_key,
        )
        for record in records
        if record.block is not None and record.row is not None
    ]


def camera_of(finding: Finding, batch: ShotBatch) -> str | None:
    """Return the camera whose frame shows the finding best: its own first one, or any of the shot."""
    with_frame = [m.device for m in batch.members_of((DeviceKind.CAMERA,)) if m.present[finding.shot]]
    own = next((device for device in finding.devices if device in with_frame), None)
    return own or next(iter(with_frame), None)
