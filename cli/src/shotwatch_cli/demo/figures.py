"""The figures at the end of the demo, computed from the uploaded files and the received events."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from shotwatch_shots.event import Anomaly, AnomalyEvent
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import SLOW_CHANGES, AnomalyKind, Phase
from shotwatch_simulator.labels import Label

MINUTE_MS = 60_000
Minute = tuple[str, str, int]
"""Beam line, interval and minute since the epoch: files of one minute are uploaded together."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event and the time at which it reached the subscriber (seconds, monotonic)."""

    event: AnomalyEvent
    at: float


@dataclass(frozen=True, slots=True)
class KindFigures:
    """The injections of one kind, and how many of them were reported."""

    kind: str
    injected: int
    """Number of injections, each of one shot or more."""
    reported: int
    """Injections of which at least one shot was reported as that kind."""
    shots: int
    shots_reported: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of a minute's upload to the events of its shots, for one place."""

    series: ShotSeries
    events: int
    p50: float
    longest: float


Reported = Collection[tuple[str, AnomalyKind]]
"""Shots and kinds of anomaly of which the subscriber received an event."""


def reported_in(shots: Iterable[JudgedShot], seen: Iterable[ReceivedEvent]) -> set[tuple[str, AnomalyKind]]:
    """Return the shots and kinds that events cover, from the first shot of an incident to its last."""
    incidents: dict[str, AnomalyEvent] = {}
    for each in sorted(seen, key=lambda each: each.event.data.sequence):
        incidents[each.event.data.incident] = each.event
    return {
        (shot.id, kind)
        for shot in shots
        for kind in shot.verdict.kinds
        if any(_covers(event, shot, kind) for event in incidents.values())
    }


def _covers(event: AnomalyEvent, shot: JudgedShot, kind: AnomalyKind) -> bool:
    data = event.data
    return data.kind is kind and data.series == shot.series and data.since <= shot.pulse <= data.until


def by_kind(labels: Iterable[Label], reported: Reported) -> list[KindFigures]:
    """Return, for each injected kind, how many injections were reported as that kind."""
    together: defaultdict[AnomalyKind, list[Label]] = defaultdict(list)
    for label in labels:
        together[label.expected].append(label)
    return [
        KindFigures(
            kind,
            injected=len(of_kind),
            reported=sum(any((shot, kind) in reported for shot in label.shots) for label in of_kind),
            shots=sum(len(label.shots) for label in of_kind),
            shots_reported=sum((shot, kind) in reported for label in of_kind for shot in label.shots),
        )
        for kind, of_kind in sorted(together.items())
    ]


@dataclass(frozen=True, slots=True)
class FalseDetection:
    """A shot without an injection, and the anomaly that was reported in it."""

    shot: str
    kind: AnomalyKind


def false_alarms(
    labels: Iterable[Label], shots: Iterable[JudgedShot], seen: Iterable[ReceivedEvent]
) -> list[FalseDetection]:
    """Return the anomalies found in normal shots and the events about them, including events withdrawn later.

    The event of a slow change names the first shot after the change. It does not call that shot anomalous and
    is left out.
    """
    anomalous = {shot for label in labels for shot in label.shots}
    found = {(shot.id, kind) for shot in shots for kind in shot.verdict.kinds}
    reported = {(each.event.subject, each.event.data.kind) for each in seen}
    return [
        FalseDetection(shot, kind)
        for shot, kind in sorted(found | reported)
        if shot not in anomalous and kind not in SLOW_CHANGES
    ]


@dataclass(frozen=True, slots=True)
class SlowChange:
    """A reported change of a device over many shots. No label shows whether it is true."""

    kind: AnomalyKind
    why: str


def slow_changes(seen: Iterable[ReceivedEvent]) -> list[SlowChange]:
    """Return trends and drift as they were reported."""
    reported = (each.event.data for each in seen if each.event.data.kind in SLOW_CHANGES)
    return [SlowChange(anomaly.kind, anomaly.why) for anomaly in reported]


def latencies(seen: Iterable[ReceivedEvent], completed: Mapping[Minute, float]) -> list[Latency]:
    """Return the latency of each place that has an event which can be timed.

    `completed` gives the time at which the last file of a minute was uploaded (seconds, monotonic). Events of
    missing members are not timed, because such a shot waits for its deadline; slow changes are not timed,
    because they need many shots.
    """
    delays: defaultdict[ShotSeries, list[float]] = defaultdict(list)
    for each in seen:
        if _timed(each.event.data) and minute_of(each.event) in completed:
            delays[each.event.data.series].append(each.at - completed[minute_of(each.event)])
    return [Latency(series, len(of), float(np.median(of)), max(of)) for series, of in delays.items()]


def _timed(anomaly: Anomaly) -> bool:
    begun = anomaly.phase in (Phase.OPENED, Phase.PASSED)
    return begun and anomaly.kind not in SLOW_CHANGES | {AnomalyKind.MISSING_MEMBER}


def minute_of(event: AnomalyEvent) -> Minute:
    return event.data.place.levels[0], event.data.interval, event.data.time // MINUTE_MS
