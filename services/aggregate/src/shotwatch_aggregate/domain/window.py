"""The window of a join: who has a record at which pulse, and which shots are closed at which revision."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.facility import Interval
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import Times, pulses_per_window, window_id
from shotwatch_shots.vocabulary import DeviceKind

Counts = NDArray[np.int32]
Mask = NDArray[np.bool_]

NO_SOURCE = -1
DATA_KINDS = (DeviceKind.CAMERA, DeviceKind.SPECTRO, DeviceKind.ENERGY_METER)


@dataclass(frozen=True, slots=True)
class Source:
    """One object's block of one device, and the trace in which it came."""

    bucket: str
    block: str
    object_id: str
    object_key: str
    arrived_at: int
    traceparent: str
    displaced: int = 0
    """Rows of it that fell on a pulse which a later object has."""

    @property
    def stored_bytes(self) -> int:
        """About what the source takes in a window's document: there, in the message held there, and its key
        once more in the list of files."""
        return 300 + 3 * len(self.object_key.encode()) + 2 * len(self.block.encode())

    @property
    def order(self) -> tuple[int, str]:
        """Where two sources hold the same pulse the later one counts, whatever the order of their coming."""
        return self.arrived_at, self.object_id


@dataclass(frozen=True, slots=True)
class Records:
    """A device's records that fall into one window: one entry each, at most one per pulse."""

    device: str
    kind: DeviceKind
    source: Source
    slot: Counts
    """Which pulse of the window, 0 .. pulses_per_window - 1."""
    row: Counts
    """Row in the source's block."""
    verdict: Counts
    """0 valid, n = refused for `reasons[n - 1]`."""
    reasons: tuple[str, ...]
    on: Mask
    """The device's state was ON."""


@dataclass(frozen=True)
class DeviceColumns:
    """What a window knows of one device; columns have one entry per pulse of the window."""

    kind: DeviceKind
    source: Counts
    """Index into `sources`; NO_SOURCE where the device has no record."""
    row: Counts
    verdict: Counts
    on: Mask
    sources: tuple[Source, ...] = ()
    reasons: tuple[str, ...] = ()

    @classmethod
    def empty(cls, kind: DeviceKind, pulses: int) -> "DeviceColumns":
        zeros = np.zeros(pulses, np.int32)
        return cls(kind, np.full(pulses, NO_SOURCE, np.int32), zeros, zeros.copy(), np.zeros(pulses, bool))

    @property
    def present(self) -> Mask:
        present: Mask = self.source != NO_SOURCE
        return present

    @property
    def valid(self) -> Mask:
        valid: Mask = self.present & (self.verdict == 0)
        return valid

    def heard(self) -> Mask:
        """Pulses about which nothing more is expected: those with a record, and those a file passed over.

        A file holds its records in the order of time, so a pulse between two of its records that it lacks
        is missing. Nothing is concluded from one file about another: files come in any order.
        """
        heard = self.present
        for n in range(len(self.sources)):
            slots = np.flatnonzero(self.source == n)
            if len(slots):
                heard[slots[0] : slots[-1]] = True
        return heard

    def differs_from(self, other: "DeviceColumns", slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the pulses at which the two do not name the same row of the same object and verdict."""
        return np.array([n for n in slots if self._entry(n) != other._entry(n)], np.intp)

    def _entry(self, n: np.intp) -> tuple[str, int, str] | None:
        if self.source[n] == NO_SOURCE:
            return None
        verdict = int(self.verdict[n])
        reason = self.reasons[verdict - 1] if verdict else ""
        return self.sources[self.source[n]].object_id, int(self.row[n]), reason


@dataclass(frozen=True)
class Window:
    """All that is known of the shots of one place in one window."""

    place: Place
    interval: Interval
    start: int
    """Epoch ms of the first pulse."""
    devices: dict[str, DeviceColumns] = field(default_factory=dict)
    revision: Counts = field(default_factory=lambda: np.zeros(0, np.int32))
    """0 for shots that are open (or do not exist); counts closings."""
    version: int = 0
    """Counts changes of the stored window."""
    again: bool = False
    """Somebody wants its closed shots to be closed again, though nothing changed."""

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
        """Pulses at which anybody has a record: the shots that exist."""
        present = [columns.present for columns in self.devices.values()]
        return np.logical_or.reduce(present) if present else np.zeros(len(self.revision), bool)

    @property
    def open(self) -> Mask:
        still_open: Mask = self.occupied & (self.revision == 0)
        return still_open

    def with_device(self, device: str, columns: DeviceColumns) -> "Window":
        return replace(self, devices={**self.devices, device: columns})
