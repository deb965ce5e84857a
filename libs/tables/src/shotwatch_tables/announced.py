"""The events and incidents that a shot belongs to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import AnomalyKind


@dataclass(frozen=True, slots=True)
class _Span:
    """An incident, from its first to its last shot (epoch ms), as far as events report it."""

    incident: str
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Announced:
    """Events that no later event supersedes, and their incidents."""

    _by_shot: Mapping[str, Sequence[AnomalyEvent]]
    _by_kind: Mapping[tuple[ShotSeries, AnomalyKind], Sequence[_Span]]

    @classmethod
    def of(cls, events: Sequence[AnomalyEvent]) -> Self:
        superseded = {id_ for event in events for id_ in event.data.supersedes}
        by_shot: dict[str, list[AnomalyEvent]] = defaultdict(list)
        spans: dict[str, tuple[tuple[ShotSeries, AnomalyKind], _Span]] = {}
        for event in sorted(events, key=lambda event: event.data.sequence):
            if event.id in superseded:
                continue
            data = event.data
            by_shot[data.shot].append(event)
            _, before = spans.get(data.incident, (None, _Span(data.incident, data.since, data.until)))
            span = _Span(data.incident, min(before.since, data.since), max(before.until, data.until))
            spans[data.incident] = (data.series, data.kind), span
        by_kind: dict[tuple[ShotSeries, AnomalyKind], list[_Span]] = defaultdict(list)
        for kind, span in spans.values():
            by_kind[kind].append(span)
        return cls(by_shot, by_kind)

    def events(self, shot: JudgedShot) -> list[str]:
        """Return the ids of the events about an anomaly that the shot still has, in order of publication."""
        about = self._by_shot.get(shot.id, ())
        return [event.id for event in about if event.data.kind in shot.verdict.kinds]

    def incidents(self, shot: JudgedShot) -> list[str]:
        """Return the ids of the incidents of the shot's series and kinds that last when it is."""
        return [
            span.incident
            for kind in shot.verdict.kinds
            for span in self._by_kind.get((shot.series, kind), ())
            if span.since <= shot.pulse <= span.until
        ]
