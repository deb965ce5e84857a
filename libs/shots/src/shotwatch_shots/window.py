"""The window of the join: which device has a record at which pulse, and the revision of each closed shot."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.batch import ABSENT, Mask, Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import Times, pulses_per_window, window_id
from shotwatch_shots.records import VALID, BlockRef

Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class RecordSource:
    """The block of one device in one object, and how it arrived."""

    block: BlockRef
    arrived_at: int
    """When the store received the object, epoch ms."""
    traceparent: str
    """The trace in which it was joined."""
    displaced: int = 0
    """Number of its rows that are not used because a later object has a record at the same pulse."""

    @property
    def stored_bytes(self) -> int:
        """Approximate size of the source in the window's document, in bytes.

        It counts the source itself, its copy in a message in the outbox, and its key in the list of files.
        """
        return 300 + 3 * len(self.block.object_key.encode()) + 2 * len(self.block.key.encode())

    @property
    def order(self) -> tuple[int, str]:
        """Sort key of sources: at a pulse for which two have a record, the greater one counts.

        The order in which the sources are processed does not matter.
        """
        return self.arrived_at, self.block.object_id


@dataclass(frozen=True, slots=True)
class UnusedSource:
    """A source of a device that a window had no room for: none of its records is in a shot."""

    device: str
    block: BlockRef
    rows: int
    """Number of its records that belong to pulses of the window. It never changes."""


@dataclass(frozen=True)
class DeviceColumns:
    """The records of one device in a window; each column has one entry per pulse."""

    kind: DeviceKind
    source: Counts
    """Index into `sources`; ABSENT where the device has no record."""
    row: Counts
    verdict: Counts
    on: Mask
    sources: tuple[RecordSource, ...] = ()
    reasons: tuple[str, ...] = ()

    @classmethod
    def empty(cls, kind: DeviceKind, pulses: int) -> "DeviceColumns":
        zeros = np.zeros(pulses, np.int32)
        return cls(kind, np.full(pulses, ABSENT, np.int32), zeros, zeros.copy(), np.zeros(pulses, bool))

    @property
    def present(self) -> Mask:
        present: Mask = self.source != ABSENT
        return present

    @property
    def valid(self) -> Mask:
        valid: Mask = self.present & (self.verdict == VALID)
        return valid

    def final(self) -> Mask:
        """Return the pulses at which nothing more is expected: with a record, or in a gap within a file.

        A file holds its records in order of time. A pulse between two records of one file that has no record
        in this file is therefore missing. Two files imply nothing about each other, because files arrive in
        any order.
        """
        final = self.present
        for n in range(len(self.sources)):
            slots = np.flatnonzero(self.source == n)
            if len(slots):
                final[slots[0] : slots[-1]] = True
        return final

    def differs_from(self, other: "DeviceColumns", slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return those of the slots at which the two differ in object, row or verdict."""
        return np.array([n for n in slots if self._entry(n) != other._entry(n)], np.intp)

    def last_known_on(self, on_before: bool) -> Mask:
        """Return whether the device was ON at its last record up to each pulse, or `on_before` if none."""
        indices = np.where(self.present, np.arange(len(self.source)), -1)
        # Index of the last pulse with a record, up to each pulse; -1 before the first.
        last = np.maximum.accumulate(indices)
        on: Mask = np.where(last >= 0, self.on[np.maximum(last, 0)], on_before)
        return on

    def member(self, device: str, slots: NDArray[np.intp], on: Mask) -> Member:
        """Return the part of the device in a batch of the shots at these slots; `on` as in `Member`."""
        return Member(
            device=device,
            kind=self.kind,
            blocks=[source.block for source in self.sources],
            source=self.source[slots],
            row=self.row[slots],
            reasons=list(self.reasons),
            verdict=self.verdict[slots],
            on=on[slots],
        )

    def _entry(self, n: np.intp) -> tuple[str, int, str] | None:
        if self.source[n] == ABSENT:
            return None
        verdict = int(self.verdict[n])
        reason = self.reasons[verdict - 1] if verdict else ""
        return self.sources[self.source[n]].block.object_id, int(self.row[n]), reason


@dataclass(frozen=True)
class Window:
    """All that is known of the shots of one place and interval in one window."""

    place: Place
    interval: Interval
    start: int
    """Epoch ms of the first pulse."""
    devices: dict[str, DeviceColumns] = field(default_factory=dict)
    revision: Counts = field(default_factory=lambda: np.zeros(0, np.int32))
    """Number of times that each shot was closed; 0 for shots that are open or do not exist."""
    version: int = 0
    """Number of changes of the stored window."""
    again: bool = False
    """Whether its closed shots are to be closed again although nothing changed (reprocessing)."""
    outbox: Mapping[str, ShotBatch] = field(default_factory=dict)
    """Batch id → batch that was closed and is not published yet."""
    traceparent: str = ""
    """The trace of its last change."""
    unused: tuple[UnusedSource, ...] = ()
    """The sources that the last change left out."""

    @classmethod
    def empty(cls, place: Place, interval: Interval, start: int) -> "Window":
        return cls(place, interval, start, revision=np.zeros(pulses_per_window(interval), np.int32))

    @property
    def series(self) -> ShotSeries:
        return ShotSeries(place=self.place, interval=self.interval.name)

    @property
    def id(self) -> str:
        return window_id(self.series, self.start)

    @property
    def pulses(self) -> Times:
        """Epoch ms of each pulse."""
        return self.start + self.interval.period_ms * np.arange(len(self.revision), dtype=np.int64)

    @property
    def occupied(self) -> Mask:
        """Pulses at which at least one device has a record: the shots that exist."""
        present = [columns.present for columns in self.devices.values()]
        return np.logical_or.reduce(present) if present else np.zeros(len(self.revision), bool)

    @property
    def open(self) -> Mask:
        still_open: Mask = self.occupied & (self.revision == 0)
        return still_open

    def with_device(self, device: str, columns: DeviceColumns) -> "Window":
        return replace(self, devices={**self.devices, device: columns})
