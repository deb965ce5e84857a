"""Findings as anomaly events by the public contract."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from shotwatch_common.contracts import (
    ABSENT,
    Anomaly,
    AnomalyEvent,
    Contribution,
    Evidence,
    ModelRef,
    ShotsClosed,
)
from shotwatch_common.facility import Place
from shotwatch_common.identity import event_id
from shotwatch_common.pulses import shot_id
from shotwatch_common.vocabulary import AnomalyKind, DeviceKind, Severity
from shotwatch_detector.finding import Finding


@dataclass(frozen=True, slots=True)
class Publication:
    """What every event of a batch has in common."""

    facility: str
    model: ModelRef | None
    trace_id: str
    traceparent: str


def shot_ids(batch: ShotsClosed) -> list[str]:
    place = Place(batch.place.frontend, batch.place.amp, batch.place.arm)
    return [shot_id(place, batch.place.interval, pulse) for pulse in batch.pulses]


def event_of(
    finding: Finding, batch: ShotsClosed, shot: str, scored: Collection[str], publication: Publication
) -> AnomalyEvent:
    """The event of a finding, with sequence 0 until one is reserved; `scored` are the model's cameras."""
    camera = camera_of(finding, batch)
    image = f"/api/v1/shots/{shot}/devices/{camera}" if camera else None
    anomaly = Anomaly(
        sequence=0,
        shot=shot,
        revision=batch.revisions[finding.shot],
        time=batch.pulses[finding.shot],
        place=batch.place,
        kind=finding.kind,
        severity=finding.severity,
        devices=list(finding.devices),
        score=finding.score,
        threshold=finding.threshold,
        why=finding.why,
        contributions=[Contribution(**asdict(contribution)) for contribution in finding.contributions],
        evidence=_evidence(finding, batch),
        image_url=f"{image}/image" if image else None,
        residual_url=f"{image}/residual" if image and camera in scored else None,
        model=publication.model,
        supersedes=[],
        trace_id=publication.trace_id,
    )
    return _wrapped(anomaly, publication)


def superseding(event: AnomalyEvent, earlier: Sequence[AnomalyEvent]) -> AnomalyEvent:
    """The event, naming those of earlier revisions of its shot and kind that it replaces."""
    replaced = [e.id for e in earlier if e.subject == event.subject and e.data.kind is event.data.kind]
    return _with(event, supersedes=[id_ for id_ in replaced if id_ != event.id])


def withdrawals(
    batch: ShotsClosed,
    found: Sequence[AnomalyEvent],
    earlier: Sequence[AnomalyEvent],
    publication: Publication,
) -> list[AnomalyEvent]:
    """For each event of an earlier revision that is no longer true: an event that says so."""
    revisions = dict(zip(shot_ids(batch), batch.revisions, strict=True))
    still_true = {(event.subject, event.data.kind) for event in found}
    spoken_of = {id_ for event in earlier for id_ in event.data.supersedes}
    return [
        _withdrawal(event, revisions[event.subject], publication)
        for event in earlier
        if (event.subject, event.data.kind) not in still_true
        and event.data.kind is not AnomalyKind.SUPERSEDED
        and event.data.revision < revisions[event.subject]
        and event.id not in spoken_of
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
            "supersedes": [event.id],
            "model": publication.model,
            "trace_id": publication.trace_id,
        }
    )
    wrapped = _wrapped(anomaly, publication)
    return wrapped.model_copy(update={"id": event_id(event.id, AnomalyKind.SUPERSEDED, revision)})


def _wrapped(anomaly: Anomaly, publication: Publication) -> AnomalyEvent:
    id_ = event_id(anomaly.shot, anomaly.kind, anomaly.revision)
    return AnomalyEvent.about(anomaly, id_, publication.facility, publication.traceparent)


def _with(event: AnomalyEvent, **changes: object) -> AnomalyEvent:
    return event.model_copy(update={"data": event.data.model_copy(update=changes)})


def _evidence(finding: Finding, batch: ShotsClosed) -> list[Evidence]:
    evidence = []
    for member in batch.members:
        source = member.source[finding.shot]
        if member.device in finding.devices and source != ABSENT:
            block = member.blocks[source]
            evidence.append(
                Evidence(
                    device=member.device,
                    block=f"{block.bucket}/{block.key}",
                    row=member.row[finding.shot],
                    raw_object=block.object_key,
                )
            )
    return evidence


def camera_of(finding: Finding, batch: ShotsClosed) -> str | None:
    """The camera whose frame shows the finding best: the first of its own, else any of the shot."""
    with_frame: Mapping[str, None] = {
        member.device: None
        for member in batch.members
        if member.kind is DeviceKind.CAMERA and member.source[finding.shot] != ABSENT
    }
    own = next((device for device in finding.devices if device in with_frame), None)
    return own or next(iter(with_frame), None)
