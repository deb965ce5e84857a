"""Shots as people query them: each with the decision about it."""

from dataclasses import dataclass

from shotwatch_shots.event import ModelRef
from shotwatch_shots.place import Place, ShotSeries
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


@dataclass(frozen=True, slots=True)
class ShotFilter:
    """The shots that a search requests; a value that is left out matches any."""

    area: Place | None = None
    """A place, or an area: all places within it."""
    interval: str | None = None
    kind: AnomalyKind | None = None
    """Shots with an anomaly of this kind."""
    min_score: float | None = None
    """Shots that were scored this high or higher."""
    complete: bool | None = None

    def accepts(self, shot: JudgedShot) -> bool:
        """Return whether the search requests this shot."""
        score = shot.verdict.score
        return (
            self.accepts_series(shot.series)
            and (self.kind is None or self.kind in shot.verdict.kinds)
            and (self.min_score is None or (score is not None and score >= self.min_score))
            and self.complete in (None, shot.complete)
        )

    def accepts_series(self, series: ShotSeries) -> bool:
        """Return whether a series may have such shots."""
        return (self.area is None or series.place.is_within(self.area)) and (
            self.interval in (None, series.interval)
        )
