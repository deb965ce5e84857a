"""What people say about events, and what counts of it.

A statement is about an event, and with it about the condition that the event tells of: who acknowledges one
event of a condition need not acknowledge the next one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.identity import statement_id
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, FeedbackAction

VERDICTS = frozenset({FeedbackAction.FALSE, FeedbackAction.CONFIRMED})
"""Actions that say whether an event was right."""
Span = tuple[int, int]
MOST_STATEMENTS = 200
"""About one condition; all are read whenever it is shown."""
LONGEST_SNOOZE_MS = 30 * 86_400_000
"""What should be silent for longer is wrong in the model or the facility file."""


class Statement(BaseModel):
    """What somebody said about an event, and what the event was about. It never changes."""

    model_config = ConfigDict(frozen=True)

    event: str
    condition: str
    shot: str
    revision: int
    time: int
    """Epoch ms of the shot's pulse."""
    place: Place
    interval: str
    kind: AnomalyKind
    devices: tuple[str, ...]
    model: str | None
    """Version of the model that raised the event; None when no model did."""
    action: FeedbackAction
    label: AnomalyKind | None
    """What it really was, when it is confirmed."""
    until: int | None
    """Epoch ms, when it is snoozed."""
    who: str
    """As whoever said it calls themselves: people may share a key."""
    caller: str = ""
    """Name of the key, or `oidc:` and the subject of the token; empty without one, or before it was kept."""
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
        """A statement about this event; one that is confirmed without a label is what it says it is."""
        anomaly = event.data
        return cls(
            event=event.id,
            condition=anomaly.condition,
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
        """The same statement has the same id."""
        said = self.event, self.action, self.label, self.until, self.who, self.note, self.at
        return statement_id(*said, *([self.caller] if self.caller else []))


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts of all that was said about a condition: the newest of each sort."""

    acknowledged_by: str | None = None
    snoozed_until: int | None = None
    """Epoch ms; may have passed."""
    verdict: FeedbackAction | None = None
    """`false` or `confirmed`."""
    label: AnomalyKind | None = None
    """What it was, when it is confirmed."""
    acknowledged_caller: str | None = None
    """The key or token of whoever acknowledged it; empty as in a statement."""


@dataclass(frozen=True, slots=True)
class Snooze:
    """Nobody wants to hear of a kind of anomaly at a place for a while."""

    series: ShotSeries
    kind: AnomalyKind
    until: int
    """Epoch ms."""


@dataclass(frozen=True, slots=True)
class ShotLabels:
    """What people said of a shot's events, and of what lasted while it came."""

    confirmed: frozenset[AnomalyKind] = frozenset()
    """What was really wrong with it."""
    false: frozenset[AnomalyKind] = frozenset()
    """Kinds of its events that were false alarms."""

    def corrected(self, kinds: Iterable[str]) -> list[AnomalyKind]:
        """What was wrong with a shot that was found to be odd in these ways."""
        found = [kind for kind in map(AnomalyKind, kinds) if kind not in self.false]
        return [*found, *sorted(self.confirmed.difference(found))]


UNLABELLED = ShotLabels()


def standing(statements: Iterable[Statement]) -> Standing:
    """How a condition stands after all that was said about it, in any order."""
    said = in_order(statements)
    acknowledged = [(each.who, each.caller) for each in said if each.action is FeedbackAction.ACKNOWLEDGED]
    snoozed = [each.until for each in said if each.action is FeedbackAction.SNOOZED]
    judged = [(each.action, each.label) for each in said if each.action in VERDICTS]
    verdict, label = judged[-1] if judged else (None, None)
    who, caller = acknowledged[-1] if acknowledged else (None, None)
    return Standing(who, snoozed[-1] if snoozed else None, verdict, label, caller)


def standings(statements: Iterable[Statement]) -> dict[str, Standing]:
    """The standing of each condition that the statements are about."""
    by_condition: dict[str, list[Statement]] = defaultdict(list)
    for statement in statements:
        by_condition[statement.condition].append(statement)
    return {condition: standing(said) for condition, said in by_condition.items()}


def active_snoozes(statements: Iterable[Statement], now_ms: int) -> list[Snooze]:
    """Snoozes that last; the newest for a place and kind is the one that counts."""
    snoozes = [each for each in in_order(statements) if each.action is FeedbackAction.SNOOZED]
    newest = {(each.series, each.kind): each.until or 0 for each in snoozes}
    return [Snooze(series, kind, until) for (series, kind), until in newest.items() if until > now_ms]


def shot_labels(
    shots: Iterable[Mapping[str, Any]], statements: Iterable[Statement], spans: Mapping[str, Span]
) -> dict[str, ShotLabels]:
    """What people said of shots (documents of the archive), as far as they said anything.

    The newest verdict on an event counts for its shot, whatever is found odd about that by now; and the
    newest one on a condition for every shot of its place and span that shows it. `spans`: condition → its
    first and last shot (epoch ms).
    """
    said = list(statements)
    of_events: dict[str, list[Statement]] = defaultdict(list)
    for verdict in newest_verdicts(said, lambda each: each.event):
        of_events[verdict.shot].append(verdict)
    of_conditions = newest_verdicts(said, lambda each: each.condition)
    labels = {}
    for shot in shots:
        lasting = [each for each in of_conditions if _shows(shot, each, spans.get(each.condition))]
        if verdicts := [*lasting, *of_events.get(shot["_id"], [])]:
            labels[shot["_id"]] = _labels(verdicts)
    return labels


def _shows(shot: Mapping[str, Any], verdict: Statement, span: Span | None) -> bool:
    return (
        span is not None
        and span[0] <= shot["pulse"] <= span[1]
        and verdict.kind in shot["kinds"]
        and (shot["place"], shot["interval"]) == (str(verdict.place), verdict.interval)
    )


def newest_verdicts(statements: Iterable[Statement], of: Callable[[Statement], str]) -> list[Statement]:
    """Of all verdicts on the same thing the newest; `of` says what a statement is about."""
    return list({of(each): each for each in in_order(statements) if each.action in VERDICTS}.values())


def in_order(statements: Iterable[Statement]) -> list[Statement]:
    """As they were made; statements of one millisecond by their ids."""
    return sorted(statements, key=lambda each: (each.at, each.id))


def _labels(verdicts: Iterable[Statement]) -> ShotLabels:
    judged = list(verdicts)
    return ShotLabels(
        confirmed=frozenset(each.label for each in judged if each.label is not None),
        false=frozenset(each.kind for each in judged if each.action is FeedbackAction.FALSE),
    )
