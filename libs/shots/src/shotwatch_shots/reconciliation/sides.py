"""The content of each source as plain values. Times are epoch milliseconds, UTC."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shotwatch_shots.ledger import Location
from shotwatch_shots.vocabulary import ObjectState, ShotState


@dataclass(frozen=True, slots=True)
class KnownObject:
    """One object version in the ledger."""

    id: str
    key: str
    """The key under which it arrived."""
    etag: str
    size: int
    state: ObjectState
    since: int
    """When it entered this state."""
    arrived_at: int
    joined_at: int
    """When its records were joined; 0 before that."""
    location: Location | None
    """None if it is nowhere any more."""
    records: int
    """Number of records that ingest read."""
    on_no_pulse: int
    """Number of records in no window: off the grid, second samples, or of unexpected devices."""
    reason: str = ""
    """Why it was rejected or dead-lettered."""
    blocks_id: str = ""
    """Id of the blocks that ingest wrote; empty if it wrote none."""
    states: frozenset[ObjectState] = frozenset()
    """All states that its history contains."""

    @property
    def label(self) -> str:
        """The name of the object in an imbalance."""
        return f"object {self.id} ({self.key})"


@dataclass(frozen=True, slots=True)
class Buckets:
    """The names of the buckets that hold objects, in the order in which an object passes through them."""

    inbox: str
    data: str
    error: str


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of objects in each state, and for each reason."""

    states: Mapping[str, int]
    reasons: Mapping[str, int]
    bytes: int

    @property
    def objects(self) -> int:
        return sum(self.states.values())

    @classmethod
    def of(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Return the sum of several tallies, with an entry for every state."""
        states, reasons, size = Counter(dict.fromkeys(map(str, ObjectState), 0)), Counter[str](), 0
        for tally in tallies:
            states.update(tally.states)
            reasons.update(tally.reasons)
            size += tally.bytes
        return cls(dict(states), dict(reasons), size)


@dataclass(frozen=True, slots=True)
class HeldObject:
    """One object in a bucket's listing."""

    key: str
    etag: str
    size: int
    modified_at: int


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """One block in the folder of its object."""

    rows: int | None
    """None if the block cannot be read."""
    etag: str


@dataclass(frozen=True, slots=True)
class ValidatedRows:
    """Number of records of one device in one object version that were validated."""

    object_id: str
    device: str
    rows: int
    refused: int
    """Of these rows, the number that was refused."""


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Number of records of one device in one object version that are in a window."""

    object_id: str
    device: str
    valid: int
    refused: int
    displaced: int
    """Records on pulses for which a later object has records."""


@dataclass(frozen=True, slots=True, order=True)
class FileVersion:
    """A version of a file, as documents refer to it."""

    key: str
    """The key under which it arrived."""
    object_id: str


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """The closed pulses of a window."""

    id: str
    expected_id: str
    """The id that follows from its place, interval and start."""
    revisions: Mapping[int, int]
    """Pulse → revision, from 1."""
    sending_since: int
    """When a message about closed shots was put into the outbox; 0 if the outbox is empty."""
    files: tuple[str, ...] = ()
    """Its list of the keys of files. By this list, windows are found that have records of a file."""
    sources: frozenset[FileVersion] = frozenset()
    """The file versions that it has records of."""


@dataclass(frozen=True, slots=True)
class ClosedShots:
    """The shots of one batch, with their state."""

    batch_id: str
    window_id: str
    revisions: Mapping[int, int]
    """Pulse → revision at which the batch closed it, in the order of the batch."""
    state: ShotState
    closed_at: int


@dataclass(frozen=True, slots=True)
class WindowOfBatch:
    """The window in which a batch was closed."""

    batch_id: str
    window_id: str
    judged_at: int
    """When the shots of the batch were written; 0 before that."""


@dataclass(frozen=True, slots=True)
class StoredShot:
    """One shot as people query it."""

    id: str
    window_id: str
    pulse: int
    revision: int
    expected_id: str
    """The id that follows from its place, interval and pulse."""
    expected_window: str
    """The id of its window, likewise."""
    batch_id: str
    """The batch that has its members and measurements."""
    index: int
    """Its place among the shots of that batch."""

    @property
    def is_consistent(self) -> bool:
        """Return whether its ids follow from its place, interval and pulse."""
        return (self.id, self.window_id) == (self.expected_id, self.expected_window)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """The numbers of one stored event."""

    id: str
    number: int
    published_number: int
    """The number in the event itself, which subscribers see."""
    stored_at: int
    published_at: int
    """When the broker confirmed it; 0 before that."""


@dataclass(frozen=True, slots=True)
class EventNumbers:
    """Sequence numbers around the events of an hour."""

    before: int
    """The last stored number before the events of the hour; 0 if there is none."""
    stored: Sequence[int]
    """The number of each stored event from the hour's lowest to its highest number, in any order."""
    after: int
    """The first stored number after the hour's last one; the highest assigned number + 1 without one."""
    highest: int
    """The highest assigned number."""
    reserved: Mapping[int, int]
    """Number → when it was reserved for an event that is not stored yet."""
    void: frozenset[int]
    """Numbers that were reserved for an event that has another number."""
