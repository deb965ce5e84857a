"""What people say about events, and what counts of it.

A statement is about an event, and with it about the condition that the event tells of: who acknowledges one
event of a condition need not acknowledge the next one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict

from shotwatch_common.contracts import AnomalyEvent, PlaceRef
from shotwatch_common.identity import statement_id
from shotwatch_common.vocabulary import AnomalyKind, FeedbackAction

VERDICTS = frozenset({FeedbackAction.FALSE, FeedbackAction.CONFIRMED})
"""Actions that say whether an event was right."""
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
    place: PlaceRef
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
    note: str
    at: int
    """Epoch ms."""

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
            kind=anomaly.kind,
            devices=tuple(anomaly.devices),
            model=anomaly.model and anomaly.model.version,
            action=action,
            label=anomaly.kind if action is FeedbackAction.CONFIRMED and label is None else label,
            until=until,
            who=who,
            note=note,
            at=at,
        )

    @property
    def id(self) -> str:
        """The same statement has the same id."""
        return statement_id(self.event, self.action, self.label, self.until, self.who, self.note, self.at)


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


@dataclass(frozen=True, slots=True)
class Snooze:
    """Nobody wants to hear of a kind of anomaly at a place for a while."""

    place: PlaceRef
    kind: AnomalyKind
    until: int
    """Epoch ms."""


@dataclass(frozen=True, slots=True)
class ShotLabels:
    """What people said of a shot's events."""

    confirmed: frozenset[AnomalyKind] = frozenset()
    """What was really wrong with it."""
    false: frozenset[AnomalyKind] = frozenset()
    """Kinds of its events that were false alarms."""


def standing(statements: Iterable[Statement]) -> Standing:
    """How a condition stands after all that was said about it, in any order."""
    said = in_order(statements)
    acknowledged = [each.who for each in said if each.action is FeedbackAction.ACKNOWLEDGED]
    snoozed = [each.until for each in said if each.action is FeedbackAction.SNOOZED]
    judged = [(each.action, each.label) for each in said if each.action in VERDICTS]
    verdict, label = judged[-1] if judged else (None, None)
    return Standing(
        acknowledged[-1] if acknowledged else None, snoozed[-1] if snoozed else None, verdict, label
    )


def standings(statements: Iterable[Statement]) -> dict[str, Standing]:
    """The standing of each condition that the statements are about."""
    by_condition: dict[str, list[Statement]] = defaultdict(list)
    for statement in statements:
        by_condition[statement.condition].append(statement)
    return {condition: standing(said) for condition, said in by_condition.items()}


def active_snoozes(statements: Iterable[Statement], now_ms: int) -> list[Snooze]:
    """Snoozes that last; the newest for a place and kind is the one that counts."""
    snoozes = [each for each in in_order(statements) if each.action is FeedbackAction.SNOOZED]
    newest = {(each.place, each.kind): each.until or 0 for each in snoozes}
    return [Snooze(place, kind, until) for (place, kind), until in newest.items() if until > now_ms]


def shot_labels(statements: Iterable[Statement]) -> dict[str, ShotLabels]:
    """What is known of each shot by the newest verdict on each of its events."""
    by_shot: dict[str, list[Statement]] = defaultdict(list)
    for verdict in newest_verdicts(statements, lambda each: each.event):
        by_shot[verdict.shot].append(verdict)
    return {shot: _labels(verdicts) for shot, verdicts in by_shot.items()}


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
