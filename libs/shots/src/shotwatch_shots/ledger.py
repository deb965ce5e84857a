"""The ledger's entry of an object: where the object is, what is known about it, and what happened to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shotwatch_shots.message import Message
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState, SkipReason

Location = tuple[str, str]
"""Bucket and key."""
NOT_YET = 0
"""The time of what has not happened yet."""


class SkippedPart(Message):
    """A part of a file that is skipped."""

    where: str
    """Its path in the file, printable."""
    reason: SkipReason
    detail: str


class ReadFacts(Message):
    """Facts about the content of an object, from ingest. What an older document lacks has its default."""

    records: int
    """Number of records."""
    devices: int = 0
    """Number of devices with records."""
    skipped: int = 0
    """Number of parts of the file that are skipped."""
    skipped_by_reason: Mapping[SkipReason, int] = {}
    skipped_examples: Sequence[SkippedPart] = ()
    blocks_id: str = ""
    """Id of the blocks that ingest wrote; empty if none are known."""


class JoinFacts(Message):
    """Facts about the join of an object's records. What an older document lacks has its default."""

    refused: Mapping[str, int] = {}
    """Reason → number of records that validate refused."""
    off_grid: int
    """Number of records that are near no pulse."""
    second_samples: int = 0
    """Number of records of pulses that already had one of the same device."""
    unexpected: int = 0
    """Number of records of devices that do not belong to the place."""
    no_room: int = 0
    """Number of records that are not used because the windows had no room for the file (docs/ledger.md)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A state that a stage gives to an object, and why. The ledger adds when, and in which trace."""

    state: ObjectState
    stage: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class LastSeen:
    """Time at which an object was last seen in the inbox, its state, and since when it has it (epoch ms)."""

    at: int
    state: ObjectState
    since: int


@dataclass(frozen=True, slots=True)
class OverdueObject:
    """An object whose records are not joined into shots yet."""

    id: str
    key: str
    since: int
    """When it entered its state, epoch ms."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A change of an object's state, or something that happened to it without changing its state."""

    state: ObjectState
    """The state from then on."""
    stage: str
    attempt: int
    """Number of the attempt to handle the message that caused it, from 1."""
    why: str
    at: int
    """Epoch ms."""
    trace_id: str


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """The ledger's entry of one object version. Times are epoch ms."""

    ref: ObjectRef
    state: ObjectState
    since: int
    """When it entered this state."""
    reason: str
    """Why it was rejected or dead-lettered; else empty."""
    detail: str
    """The last explanation of its state."""
    seen_at: int
    """When it was last seen in the inbox, or was last worked on."""
    joined_at: int
    """When its records were joined into shots; NOT_YET before that."""
    location: Location | None
    """None if it is nowhere any more."""
    read: ReadFacts | None
    """None until ingest has read it."""
    join: JoinFacts | None
    """None until its records are joined."""
    history: tuple[HistoryStep, ...]

    @property
    def facts(self) -> Mapping[str, object]:
        """What is known about its content, as the REST API and the command line show it."""
        known = (part.model_dump(mode="json") for part in (self.read, self.join) if part)
        return {name: value for part in known for name, value in part.items()}

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to the object by itself: its records are joined, if it has any."""
        if self.state is ObjectState.INGESTED:
            return self.joined_at != NOT_YET
        return self.state is not ObjectState.WAITING
