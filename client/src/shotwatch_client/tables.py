"""The answers of the REST API as tables, and as objects with tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import pandas as pd

from shotwatch_client.answer import Answer

TIME = "datetime64[ms, UTC]"
"""The type of a column of times."""
Column = tuple[str, Callable[[Answer, str], object], str]
"""The property of each row, how it is read, and the type of the column."""
Columns = Mapping[str, Column]

SHOTS: Columns = {
    "shot": ("id", Answer.text, "str"),
    "time": ("time", Answer.time, TIME),
    "place": ("place", Answer.text, "str"),
    "interval": ("interval", Answer.text, "str"),
    "revision": ("revision", Answer.whole, "int64"),
    "complete": ("complete", Answer.flag, "bool"),
    "missing": ("missing", Answer.texts, "object"),
    "score": ("score", Answer.number, "float64"),
    "threshold": ("threshold", Answer.number, "float64"),
    "kinds": ("kinds", Answer.texts, "object"),
    "severity": ("severity", Answer.text_or_none, "str"),
}
PLACES: Columns = {
    "place": ("place", Answer.text, "str"),
    "interval": ("interval", Answer.text, "str"),
    "recorded_at": ("recorded_at", Answer.time, TIME),
    "shot_at": ("shot_at", Answer.time_or_none, TIME),
    "judged_at": ("judged_at", Answer.time_or_none, TIME),
    "shots_per_minute": ("shots_per_minute", Answer.number, "float64"),
    "threshold": ("threshold", Answer.number, "float64"),
}
DEVICES: Columns = {
    "device": ("device", Answer.text, "str"),
    "kind": ("kind", Answer.text, "str"),
    "place": ("place", Answer.text, "str"),
    "interval": ("interval", Answer.text, "str"),
    "state": ("state", Answer.text_or_none, "str"),
    "seen_at": ("time", Answer.time_or_none, TIME),
}
FEATURES: Columns = {
    "feature": ("name", Answer.text, "str"),
    "unit": ("unit", Answer.text, "str"),
    "description": ("description", Answer.text, "str"),
    "source": ("source", Answer.text, "str"),
    "measured_on": ("measured_on", Answer.text, "str"),
}
COLUMNS: Columns = {
    "column": ("name", Answer.text, "str"),
    "unit": ("unit", Answer.text, "str"),
    "description": ("description", Answer.text, "str"),
}
_MEMBERS: Columns = {
    "device": ("device", Answer.text, "str"),
    "kind": ("kind", Answer.text, "str"),
    "verdict": ("verdict", Answer.text, "str"),
    "on": ("on", Answer.flag, "bool"),
    "block": ("block", Answer.text_or_none, "str"),
    "file": ("raw_object", Answer.text_or_none, "str"),
}
_MEASURED: Columns = {
    "device": ("device", Answer.text, "str"),
    "feature": ("name", Answer.text, "str"),
    "value": ("value", Answer.number, "float64"),
    "unit": ("unit", Answer.text, "str"),
}
_ANOMALIES: Columns = {
    "event": ("id", Answer.text, "str"),
    "number": ("sequence", Answer.whole, "int64"),
    "kind": ("kind", Answer.text, "str"),
    "severity": ("severity", Answer.text, "str"),
    "why": ("why", Answer.text, "str"),
    "score": ("score", Answer.number, "float64"),
    "threshold": ("threshold", Answer.number, "float64"),
}
_REVISIONS: Columns = {
    "revision": ("revision", Answer.whole, "int64"),
    "at": ("at", Answer.time, TIME),
    "complete": ("complete", Answer.flag, "bool"),
}
_EQUALITIES: Columns = {
    "equality": ("equality", Answer.text, "str"),
    "counts": ("counts", Answer.counts, "object"),
    "imbalances": ("imbalances", Answer.whole, "int64"),
    "under_way": ("under_way", Answer.whole, "int64"),
    "unchecked": ("unchecked", Answer.whole, "int64"),
    "checked_at": ("checked_at", Answer.time_or_none, TIME),
}


def table(rows: Sequence[Answer], columns: Columns) -> pd.DataFrame:
    """Return rows as a table; without rows, its columns have the same types.

    Raises:
        UnexpectedAnswer: a row lacks a property, or has one of another type.
    """
    return pd.DataFrame(
        {
            name: pd.Series([read(row, property_name) for row in rows], dtype=kind)
            for name, (property_name, read, kind) in columns.items()
        }
    )


@dataclass(frozen=True, slots=True)
class ShotReport:
    """Everything about one shot."""

    shot: str
    """Its id."""
    time: datetime
    """Time of the pulse, UTC."""
    place: str
    interval: str
    revision: int
    complete: bool
    score: float
    """NaN if no model scored it."""
    threshold: float
    kinds: tuple[str, ...]
    """Kinds of its anomalies."""
    members: pd.DataFrame = field(repr=False)
    """Columns `device`, `kind`, `verdict`, `on` (whether the device was ON), `block`, `file`."""
    features: pd.DataFrame = field(repr=False)
    """Columns `device`, `feature`, `value`, `unit`."""
    anomalies: pd.DataFrame = field(repr=False)
    """The events of all revisions: `event`, `number`, `kind`, `severity`, `why`, `score`, `threshold`."""
    revisions: pd.DataFrame = field(repr=False)
    """Columns `revision`, `at` (when it was closed), `complete`."""

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return the report of `GET /shots/{shot}`. Raises UnexpectedAnswer as `Answer` does."""
        return cls(
            shot=answer.text("id"),
            time=answer.time("time"),
            place=answer.text("place"),
            interval=answer.text("interval"),
            revision=answer.whole("revision"),
            complete=answer.flag("complete"),
            score=answer.number("score"),
            threshold=answer.number("threshold"),
            kinds=answer.texts("kinds"),
            members=table(answer.rows("members"), _MEMBERS),
            features=table(answer.rows("features"), _MEASURED),
            anomalies=table(answer.part("reasons").rows("anomalies"), _ANOMALIES),
            revisions=table(answer.rows("revisions"), _REVISIONS),
        )


@dataclass(frozen=True, slots=True)
class FileBalance:
    """The states of the files that arrived in a span of time, and whether the accounts of them agree."""

    start: datetime
    end: datetime
    objects: int
    """Number of files."""
    bytes: int
    states: Mapping[str, int]
    """Files by state: `waiting`, `ingested`, `rejected`, `ignored`, `dead_lettered`, `expired`."""
    reasons: Mapping[str, int]
    """Rejected files by reason."""
    adds_up: bool | None
    """Whether no equality has an imbalance; None while a part of the span was never checked."""
    equalities: pd.DataFrame = field(repr=False)
    """Columns `equality`, `counts` (by source), `imbalances`, `under_way`, `unchecked`, `checked_at`."""

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return the balance of `GET /ledger`. Raises UnexpectedAnswer as `Answer` does."""
        return cls(
            start=answer.time("start"),
            end=answer.time("end"),
            objects=answer.whole("objects"),
            bytes=answer.whole("bytes"),
            states=answer.counts("states"),
            reasons=answer.counts("reasons"),
            adds_up=answer.flag_or_none("adds_up"),
            equalities=table(answer.rows("equalities"), _EQUALITIES),
        )
