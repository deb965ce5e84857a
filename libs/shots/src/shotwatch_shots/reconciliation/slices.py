"""The slices in which equalities are checked, and the result of a check."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.pulses import instant, window_start
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome

BEGINNING = -62_135_596_800_000
"""No slice begins before this time: 0001-01-01 (epoch ms)."""


class Equality(StrEnum):
    """The comparisons, each with its kind of slice."""

    INBOX = "inbox"
    """Objects: the inbox and the ledger. There is only one slice."""
    OBJECTS = "objects"
    """Objects: the data bucket, the error bucket and the ledger, by the day of the folders."""
    RECORDS = "records"
    """Blocks, validated records and windows, by the hour in which the objects arrived."""
    SHOTS = "shots"
    """Windows, shots and batches, by the hour in which the windows begin."""
    EVENTS = "events"
    """Stored events, sequence numbers and confirmations, by the hour in which the events were stored."""


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """An equality in one hour or day."""

    equality: Equality
    start: int
    """Epoch ms; 0 for the inbox."""

    @classmethod
    def at(cls, equality: Equality, time: int) -> "Slice":
        """Return the slice of an equality that contains a time (epoch ms)."""
        length = DAY_MS if equality is Equality.OBJECTS else HOUR_MS
        return cls(equality, time // length * length)

    @classmethod
    def of_window(cls, window_id: str) -> "Slice | None":
        """Return the slice of a window's shots; None if the window's id does not contain its start."""
        try:
            return cls.at(Equality.SHOTS, window_start(window_id))
        except ValueError:
            return None

    @classmethod
    def of_folder(cls, name: str) -> "Slice | None":
        """Return the slice of a day's folder (`2022-07-01`); None if the name is not a day (`2022-7-1`)."""
        try:
            day = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        slice_ = cls(Equality.OBJECTS, round(day.timestamp()) * 1000)
        return slice_ if slice_.folder == name else None

    @property
    def end(self) -> int:
        """Epoch ms after the slice."""
        return self.start + (DAY_MS if self.equality is Equality.OBJECTS else HOUR_MS)

    def overlaps(self, start: int, end: int) -> bool:
        """Return whether the slice overlaps [start, end) (epoch ms); the inbox always does."""
        return self.equality is Equality.INBOX or (self.start < end and self.end > start)

    @property
    def folder(self) -> str:
        """Name of the day's folder in the buckets."""
        return f"{instant(self.start):%Y-%m-%d}"

    def __str__(self) -> str:
        """Return the name of the slice: `shots 2022-07-01T07`, `objects 2022-07-01`, `inbox`."""
        if self.equality is Equality.INBOX:
            return self.equality
        when = self.folder if self.equality is Equality.OBJECTS else f"{instant(self.start):%Y-%m-%dT%H}"
        return f"{self.equality} {when}"


INBOX = Slice(Equality.INBOX, 0)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The last check of a slice."""

    slice: Slice
    outcome: Outcome
    checked_at: int
    """Epoch ms; 0 if it has never been checked."""
    took_ms: int
    confirmed: tuple[Imbalance, ...]
    """Imbalances that the previous check had found as well."""
    changed_at: int = 0
    """When something in the slice last changed."""

    @property
    def settled(self) -> bool:
        """Whether the slice balances with nothing in progress, and has not changed since the check."""
        checked = self.checked_at > 0 and self.changed_at <= self.checked_at
        return checked and not self.outcome.imbalances and not self.outcome.under_way
