"""What each source says, as plain values. Times are epoch milliseconds, UTC."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shotwatch_shots.vocabulary import ObjectState, ShotState

Location = tuple[str, str]
"""Bucket and key."""


@dataclass(frozen=True, slots=True)
class KnownObject:
    """One object version, as the ledger has it."""

    id: str
    key: str
    """Under which it arrived."""
    etag: str
    size: int
    state: ObjectState
    since: int
    """In this state."""
    arrived_at: int
    joined_at: int
    """0 before its records were joined."""
    location: Location | None
    """None where it is not to be found any more."""
    records: int
    """Read by ingest."""
    on_no_pulse: int
    """Records that are in no window: off the grid, second samples, of unexpected devices."""
    reason: str = ""
    """Why it was rejected or dead-lettered."""
    blocks_id: str = ""
    """Id of the blocks that ingest wrote; empty where it wrote none."""
    states: frozenset[ObjectState] = frozenset()
    """Those that it has been in, by its history."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The names of the buckets in which objects lie, one after the other."""

    inbox: str
    data: str
    error: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many objects are in each state, and how many ended for which reason."""

    states: Mapping[str, int]
    reasons: Mapping[str, int]
    bytes: int

    @property
    def objects(self) -> int:
        return sum(self.states.values())

    @classmethod
    def of(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Return the sum of several tallies; every state is there."""
        states, reasons, size = Counter(dict.fromkeys(map(str, ObjectState), 0)), Counter[str](), 0
        for tally in tallies:
            states.update(tally.states)
            reasons.update(tally.reasons)
            size += tally.bytes
        return cls(dict(states), dict(reasons), size)


@dataclass(frozen=True, slots=True)
class HeldObject:
    """One object, as a bucket lists it."""

    key: str
    etag: str
    size: int
    modified_at: int


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """One block in the folder of its object."""

    rows: int | None
    """None where it cannot be read."""
    etag: str


@dataclass(frozen=True, slots=True)
class ValidatedRows:
    """How many records of one device in one object version were validated."""

    object_id: str
    device: str
    rows: int
    refused: int
    """Of these rows."""


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """How many records of one device in one object version a window has."""

    object_id: str
    device: str
    valid: int
    refused: int
    displaced: int
    """On pulses that a later object has."""


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """The pulses of a window that were closed."""

    id: str
    revisions: Mapping[int, int]
    """Pulse → revision, from 1."""
    sending_since: int
    """When a message about closed shots was put into the outbox; 0 when it is empty."""
    files: tuple[str, ...] = ()
    """Keys of the files whose records it has."""


@dataclass(frozen=True, slots=True)
class ClosedShots:
    """The shots of one batch, and what became of them."""

    batch_id: str
    window_id: str
    revisions: Mapping[int, int]
    """Pulse → revision at which the batch closed it."""
    state: ShotState
    closed_at: int


@dataclass(frozen=True, slots=True)
class StoredShot:
    """One shot, as people query it."""

    id: str
    window_id: str
    pulse: int
    revision: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """The numbers of one stored event."""

    id: str
    number: int
    published_number: int
    """The number in the event itself, which subscribers see."""
    stored_at: int
    published_at: int
    """When the broker had confirmed it; 0 before."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sequence numbers around the events of an hour."""

    before: int
    """The number before the first of them that is stored; 0 where there is none."""
    stored: frozenset[int]
    """Those after `before` and up to the last of the hour."""
    after: int
    """The one after the last of the hour; after the highest that was given out if no later one is stored."""
    highest: int
    """That was given out."""
    reserved: Mapping[int, int]
    """Number → when it was reserved for an event that is not stored yet."""
    void: frozenset[int]
    """Numbers that were reserved for an event which has another one."""
