"""Conversion of slow changes and drift to anomaly events of the public contract."""

from collections.abc import Mapping
from typing import Any

from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_trace_id, current_traceparent
from shotwatch_history.domain.drift import MATTERS, severity_of, why
from shotwatch_history.domain.thresholds import severity_of_step, why_moved
from shotwatch_history.domain.trends import Shift
from shotwatch_shots.drift import Drift, FeatureDrift
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.event import Anomaly, AnomalyEvent, Contribution
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.identity import event_id
from shotwatch_shots.models import ScoredHour
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import shot_id
from shotwatch_shots.vocabulary import AnomalyKind, Phase


def event_of(shift: Shift, series: ShotSeries, reported_until: int, facility: str) -> AnomalyEvent:
    """Return the event of a lasting change, with sequence 0 until one is reserved.

    It concerns the first shot after the change. Its id depends on the time up to which changes were reported
    before, not on the exact position of the change. The same change, if found again, is therefore the same
    event.
    """
    contribution = Contribution(
        device=shift.device,
        feature=shift.feature,
        value=shift.after,
        reference=shift.before,
        sigmas=shift.sigmas,
        unit=FEATURE_SPECS[shift.feature].unit,
    )
    id_ = event_id(f"{shift.device}/{shift.feature}/{reported_until}", AnomalyKind.TREND, 1)
    return _event(
        id_,
        shift.time,
        series,
        facility,
        kind=AnomalyKind.TREND,
        severity=shift.severity,
        devices=[shift.device],
        score=shift.weight,
        threshold=1.0,
        why=shift.why,
        contributions=[contribution],
    )


def drift_event_of(
    drift: Drift, features: Mapping[str, FeatureDrift], series: ShotSeries, facility: str
) -> AnomalyEvent:
    """Return the event of a drift, with sequence 0 until one is reserved; `features` have shifted.

    It concerns a shot of the newest batch. Each device and model version has one event id, so that drift is
    reported once.
    """
    contributions = [
        Contribution(
            device=drift.device,
            feature=name,
            value=of.median,
            reference=of.centre,
            sigmas=of.shift,
            unit=FEATURE_SPECS[name].unit,
        )
        for name, of in features.items()
    ]
    furthest = contributions[0].sigmas
    return _event(
        event_id(f"{drift.device}/{drift.version}", AnomalyKind.DRIFT, 1),
        drift.end,
        series,
        facility,
        kind=AnomalyKind.DRIFT,
        severity=severity_of(furthest),
        devices=[drift.device],
        score=abs(furthest),
        threshold=MATTERS,
        why=why(drift, features),
        contributions=contributions,
    )


def threshold_event_of(
    hour: ScoredHour, kind: AnomalyKind, step: int, series: ShotSeries, facility: str
) -> AnomalyEvent:
    """Return the event of a threshold that moved by so many steps, with sequence 0 until one is reserved.

    It concerns the beginning of the hour. Each step of a question of a series and model version has one event
    id, so that it is reported once.
    """
    return _event(
        event_id(f"{hour.series}/{hour.model}/{kind}/{step}", AnomalyKind.DRIFT, 1),
        hour.hour * HOUR_MS,
        series,
        facility,
        kind=AnomalyKind.DRIFT,
        severity=severity_of_step(step),
        devices=[],
        score=hour.thresholds.own[kind],
        threshold=hour.thresholds.fitted,
        why=why_moved(hour, kind, series.place.in_words),
        contributions=[],
    )


def _event(id_: str, time: int, series: ShotSeries, facility: str, **fields: Any) -> AnomalyEvent:
    """Return an event about a shot, for an incident that has no end."""
    anomaly = Anomaly(
        sequence=0,
        shot=shot_id(series, time),
        revision=1,
        time=time,
        place=series.place,
        interval=series.interval,
        evidence=[],
        image_url=None,
        residual_url=None,
        model=None,
        incident=id_,
        phase=Phase.OPENED,
        since=time,
        until=time,
        shots=1,
        supersedes=[],
        trace_id=current_trace_id(),
        **fields,
    )
    return AnomalyEvent.about(anomaly, id_, facility, current_traceparent(), epoch_now())
