"""The incidents of a place: the anomalies there that last."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.vocabulary import AnomalyKind, Severity

REMEMBERED = 50
REMEMBERED_BATCHES = 100
"""Number of batches that are remembered per series; a batch delivered again later counts as new."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One kind of anomaly at one place, from first to last shot. Times are those of pulses, epoch ms."""

    id: str
    """The id of the event that opened it."""
    kind: AnomalyKind
    since: int
    until: int
    """The last shot so far that shows it."""
    shots: int
    severity: Severity
    devices: tuple[str, ...]
    notified_at: int
    """The last shot at the time of the last notification."""


@dataclass(frozen=True, slots=True)
class Incidents:
    """The incidents of a place: those that are open, and some that are over."""

    open: Mapping[AnomalyKind, Incident] = field(default_factory=dict)
    over: tuple[Incident, ...] = ()
    """The last REMEMBERED incidents, so that shots that are judged late or again do not open new ones."""

    def without(self, withdrawn: Collection[str]) -> "Incidents":
        """Return the incidents except those that turned out to be false, so that they hide nothing new."""
        still_open = {kind: each for kind, each in self.open.items() if each.id not in withdrawn}
        return Incidents(still_open, tuple(each for each in self.over if each.id not in withdrawn))


@dataclass(frozen=True, slots=True)
class SeriesIncidents:
    """The incidents of a series as they are stored, with the events that are still to be published."""

    series: str
    version: int = 0
    """Counts changes; 0 if nothing is stored yet."""
    incidents: Incidents = field(default_factory=Incidents)
    batches: tuple[str, ...] = ()
    """Ids of the last REMEMBERED_BATCHES batches that changed the incidents."""
    outbox: Mapping[str, Sequence[AnomalyEvent]] = field(default_factory=dict)
    """Batch id → events that the broker has not confirmed yet."""

    def after(self, batch_id: str, incidents: Incidents, events: Sequence[AnomalyEvent]) -> "SeriesIncidents":
        """Return the next version: the incidents after a batch, with the batch's events in the outbox."""
        return replace(
            self,
            version=self.version + 1,
            incidents=incidents,
            batches=(*self.batches, batch_id)[-REMEMBERED_BATCHES:],
            outbox={**self.outbox, batch_id: events} if events else self.outbox,
        )
