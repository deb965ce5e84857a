"""Shots as people query them: each with the decision about it."""

from dataclasses import dataclass

from shotwatch_shots.event import ModelRef
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import AnomalyKind, Severity


@dataclass(frozen=True, slots=True)
class ShotVerdict:
    """The decision about a shot."""

    score: float | None
    """The model's score; None if no model scored the shot."""
    threshold: float | None
    """Scores above this are anomalies."""
    kinds: tuple[AnomalyKind, ...] = ()
    severity: Severity | None = None
    """The highest severity among its anomalies."""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record of a shot that does not count."""

    device: str
    reason: str
    """`reason` or `reason: detail`."""


@dataclass(frozen=True, slots=True)
class JudgedShot:
    """A shot at its newest revision, with its verdict."""

    id: str
    series: ShotSeries
    pulse: int
    """Epoch ms."""
    revision: int
    window: str
    """Id of its window."""
    batch: str
    """Id of the batch in which this revision was closed."""
    index: int
    """Index in the batch's columns."""
    complete: bool
    missing: tuple[str, ...]
    """Devices without a record."""
    refused: tuple[RefusedRecord, ...]
    verdict: ShotVerdict
    model: ModelRef | None
    """The model that scored it."""
    trace_id: str
    """The trace in which it was judged."""
    judged_at: int
    """Epoch ms."""
