"""The sums at the end of the demo: pure functions from what was fed and seen to what is reported."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from shotwatch_common.contracts import AnomalyEvent
from shotwatch_common.vocabulary import AnomalyKind
from shotwatch_simulator.labels import Label

MINUTE_MS = 60_000
Minute = tuple[str, str, int]
"""Beam line, interval and minute since the epoch: files of one minute are uploaded together."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event and when it reached the subscriber (seconds, monotonic)."""

    event: AnomalyEvent
    at: float


@dataclass(frozen=True, slots=True)
class KindFigures:
    """What was injected of a kind, and what was reported."""

    kind: str
    injected: int
    """Injections, each of one shot or more."""
    reported: int
    """Injections of which at least one shot has an event of the kind."""
    shots: int
    shots_reported: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the end of the upload that completed a shot to its event."""

    count: int
    p50: float
    p99: float


def by_kind(labels: Iterable[Label], seen: Iterable[Seen]) -> list[KindFigures]:
    """For each kind that was injected: how much of it was reported under its name."""
    reported = {(s.event.subject, s.event.data.kind) for s in seen}
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


def false_alarms(labels: Iterable[Label], seen: Iterable[Seen]) -> list[AnomalyEvent]:
    """Events of shots into which nothing was put; what was withdrawn later counts, too."""
    odd = {shot for label in labels for shot in label.shots}
    return [s.event for s in seen if s.event.subject not in odd]


def latency(seen: Iterable[Seen], completed: Mapping[Minute, float]) -> Latency | None:
    """From the end of the upload that completed a shot to its event; None when nothing can be timed.

    `completed` says when the last file of a minute was uploaded (seconds, monotonic). A shot that misses a
    member may have waited for its deadline, so it is not timed.
    """
    delays = [
        s.at - completed[minute_of(s.event)]
        for s in seen
        if s.event.data.kind is not AnomalyKind.MISSING_MEMBER and minute_of(s.event) in completed
    ]
    if not delays:
        return None
    return Latency(len(delays), float(np.percentile(delays, 50)), float(np.percentile(delays, 99)))


def minute_of(event: AnomalyEvent) -> Minute:
    place = event.data.place
    return place.frontend, place.interval, event.data.time // MINUTE_MS
