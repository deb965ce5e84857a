"""Feedback of people about events, and its combined effect.

A statement refers to an event, and thereby to the event's incident. Whoever acknowledges one event of an
incident need not acknowledge the next one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict

from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.identity import statement_id
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.shot import JudgedShot
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction

VERDICTS = frozenset({FeedbackAction.FALSE, FeedbackAction.CONFIRMED})
"""Actions that state whether an event was right."""
ShotSpan = tuple[int, int]
"""The first and the last shot of an incident, epoch ms."""
MOST_STATEMENTS = 200
"""Limit for one incident; all are read whenever the incident is displayed."""
LONGEST_SNOOZE_MS = 30 * 86_400_000
"""Anything that should be silent for longer must be corrected in the model or the facility file."""


class Statement(BaseModel):
    """One person's statement about an event, and what the event was about. It never changes."""

    model_config = ConfigDict(frozen=True)

    event: str
    incident: str
    shot: str
    revision: int
    time: int
    """Epoch ms of the shot's pulse."""
    place: Place
    interval: str
    kind: AnomalyKind
    devices: tuple[str, ...]
    model: str | None
    """Version of the model that raised the event; None if no model did."""
    action: FeedbackAction
    label: AnomalyKind | None
    """The actual anomaly, if the event was confirmed."""
    until: int | None
    """End of a snooze, epoch ms."""
    who: str
    """The name that the author gave: several people may share an API key."""
    caller: str = ""
    """Name of the API key, or `oidc:` and the token's subject; empty if unknown."""
    note: str
    at: int
    """Epoch ms."""

    @property
    def series(self) -> ShotSeries:
        return ShotSeries(place=self.place, interval=self.interval)

    @classmethod
    def about(
        cls,
        event: AnomalyEvent,
        action: FeedbackAction,
        who: str,
        at: int,
        label: AnomalyKind | None = None,
        until: int | None = None,
        note: str = "",
        caller: str = "",
    ) -> Self:
        """Create a statement about this event; a confirmation without a label keeps the event's kind."""
        anomaly = event.data
        return cls(
            event=event.id,
            incident=anomaly.incident,
            shot=anomaly.shot,
            revision=anomaly.revision,
            time=anomaly.time,
            place=anomaly.place,
            interval=anomaly.interval,
            kind=anomaly.kind,
            devices=tuple(anomaly.devices),
            model=anomaly.model and anomaly.model.version,
            action=action,
            label=anomaly.kind if action is FeedbackAction.CONFIRMED and label is None else label,
            until=until,
            who=who,
            caller=caller,
            note=note,
            at=at,
        )

    @property
    def id(self) -> str:
        """The id of the statement; the same statement always has the same id."""
        fields = self.event, self.action, self.label, self.until, self.who, self.note, self.at
        return statement_id(*fields, *([self.caller] if self.caller else []))


@dataclass(frozen=True, slots=True)
class Standing:
    """The combined effect of all statements about an incident: the newest statement of each sort counts."""

    acknowledged_by: str | None = None
    snoozed_until: int | None = None
    """Epoch ms; may be in the past."""
    verdict: FeedbackAction | None = None
    """`false` or `confirmed`."""
    label: AnomalyKind | None = None
    """The actual anomaly, if it was confirmed."""
    acknowledged_caller: str | None = None
    """The API key or token of whoever acknowledged it; empty as in a statement."""


@dataclass(frozen=True, slots=True)
class Snooze:
    """A kind of anomaly at a place whose events are not published for a while."""

    series: ShotSeries
    kind: AnomalyKind
    until: int
    """Epoch ms."""


@dataclass(frozen=True, slots=True)
class ShotLabels:
    """People's verdicts on the events of a shot, and on the incidents that lasted during the shot."""

    confirmed: frozenset[AnomalyKind] = frozenset()
    """Anomalies that the shot really had."""
    false: frozenset[AnomalyKind] = frozenset()
    """Kinds of its events that were false alarms."""

    def corrected(self, kinds: Iterable[str]) -> list[AnomalyKind]:
        """Return the anomalies that a shot really had, given the kinds that were detected."""
        found = [kind for kind in map(AnomalyKind, kinds) if kind not in self.false]
        return [*found, *sorted(self.confirmed.difference(found))]


UNLABELLED = ShotLabels()


def standing(statements: Iterable[Statement]) -> Standing:
    """Return the standing of an incident after these statements, which may be in any order."""
    given = in_order(statements)
    acknowledged = [(each.who, each.caller) for each in given if each.action is FeedbackAction.ACKNOWLEDGED]
    snoozed = [each.until for each in given if each.action is FeedbackAction.SNOOZED]
    judged = [(each.action, each.label) for each in given if each.action in VERDICTS]
    verdict, label = judged[-1] if judged else (None, None)
    who, caller = acknowledged[-1] if acknowledged else (None, None)
    return Standing(who, snoozed[-1] if snoozed else None, verdict, label, caller)


def standings(statements: Iterable[Statement]) -> dict[str, Standing]:
    """Return the standing of each incident that the statements are about."""
    by_incident: dict[str, list[Statement]] = defaultdict(list)
    for statement in statements:
        by_incident[statement.incident].append(statement)
    return {incident: standing(given) for incident, given in by_incident.items()}


def active_snoozes(statements: Iterable[Statement], now_ms: int) -> list[Snooze]:
    """Return the snoozes that are active; for each place and kind, the newest one counts."""
    snoozes = [each for each in in_order(statements) if each.action is FeedbackAction.SNOOZED]
    newest = {(each.series, each.kind): each.until or 0 for each in snoozes}
    return [Snooze(series, kind, until) for (series, kind), until in newest.items() if until > now_ms]


def shot_labels(
    shots: Iterable[JudgedShot], statements: Iterable[Statement], spans: Mapping[str, ShotSpan]
) -> dict[str, ShotLabels]:
    """Return the labels of those shots about which there are verdicts.

    The newest verdict on an event counts for the event's shot, whatever anomalies are detected in that shot
    by now. The newest verdict on an incident counts for every shot of its place and time span that shows it.
    `spans`: incident → its first and last shot (epoch ms).
    """
    given = list(statements)
    of_events: dict[str, list[Statement]] = defaultdict(list)
    for verdict in newest_verdicts(given, lambda each: each.event):
        of_events[verdict.shot].append(verdict)
    of_incidents = newest_verdicts(given, lambda each: each.incident)
    labels = {}
    for shot in shots:
        lasting = [each for each in of_incidents if _shows(shot, each, spans.get(each.incident))]
        if verdicts := [*lasting, *of_events.get(shot.id, [])]:
            labels[shot.id] = _labels(verdicts)
    return labels


def _shows(shot: JudgedShot, verdict: Statement, span: ShotSpan | None) -> bool:
    return (
        span is not None
        and span[0] <= shot.pulse <= span[1]
        and verdict.kind in shot.verdict.kinds
        and shot.series == verdict.series
    )


def newest_verdicts(statements: Iterable[Statement], of: Callable[[Statement], str]) -> list[Statement]:
    """Return the newest verdict on each thing; `of` returns the thing that a statement is about."""
    return list({of(each): each for each in in_order(statements) if each.action in VERDICTS}.values())


def in_order(statements: Iterable[Statement]) -> list[Statement]:
    """Sort statements by time; statements of the same millisecond by their ids."""
    return sorted(statements, key=lambda each: (each.at, each.id))


def _labels(verdicts: Iterable[Statement]) -> ShotLabels:
    judged = list(verdicts)
    return ShotLabels(
        confirmed=frozenset(each.label for each in judged if each.label is not None),
        false=frozenset(each.kind for each in judged if each.action is FeedbackAction.FALSE),
    )
