"""Slow changes as anomaly events by the public contract."""

from shotwatch_common.contracts import Anomaly, AnomalyEvent, Contribution, PlaceRef
from shotwatch_common.facility import Place
from shotwatch_common.feature_terms import FEATURE_TERMS
from shotwatch_common.identity import event_id
from shotwatch_common.pulses import shot_id
from shotwatch_common.telemetry import current_trace_id, current_traceparent
from shotwatch_common.vocabulary import AnomalyKind, Phase
from shotwatch_history.domain.trends import Shift


def event_of(shift: Shift, place: PlaceRef, told_until: int, facility: str) -> AnomalyEvent:
    """The event of a lasting change, with sequence 0 until one is reserved.

    It is about the first shot after the change. Its id depends on what was told before, not on where exactly
    the change is found: the same change, found again, is the same event.
    """
    shot = shot_id(Place(place.frontend, place.amp, place.arm), place.interval, shift.time)
    contribution = Contribution(
        device=shift.device,
        feature=shift.feature,
        value=shift.after,
        reference=shift.before,
        sigmas=shift.sigmas,
        unit=FEATURE_TERMS[shift.feature].unit,
    )
    id_ = event_id(f"{shift.device}/{shift.feature}/{told_until}", AnomalyKind.TREND, 1)
    anomaly = Anomaly(
        sequence=0,
        shot=shot,
        revision=1,
        time=shift.time,
        place=place,
        kind=AnomalyKind.TREND,
        severity=shift.severity,
        devices=[shift.device],
        score=shift.weight,
        threshold=1.0,
        why=shift.why,
        contributions=[contribution],
        evidence=[],
        image_url=None,
        residual_url=None,
        model=None,
        condition=id_,
        phase=Phase.OPENED,
        since=shift.time,
        until=shift.time,
        shots=1,
        supersedes=[],
        trace_id=current_trace_id(),
    )
    return AnomalyEvent.about(anomaly, id_, facility, current_traceparent())
