"""The records of a file: as ingest read them, and as validate judged them.

They consist of columns and references, never of pixels. Every column has one entry per record, in the order
of `times`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shotwatch_shots.columns import Columnar, Integers
from shotwatch_shots.device_kinds import DeviceKind, Digest
from shotwatch_shots.facility import Interval
from shotwatch_shots.message import Message, StageMessage
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import Times, window_starts
from shotwatch_shots.vocabulary import RecordReason

VALID = 0
"""The verdict of a valid record; any other verdict n stands for `reasons[n - 1]`."""
NO_STATE = -1
"""The state of a record whose file has no state."""
MOST_DETAILED_REASONS = 64
"""The number of different reasons of a device that keep their details in one file, or in one window."""
LONGEST_REASON = 300
"""In characters; a longer detail is truncated."""
MOST_DEVICES = 1000
"""The number of devices that a file or a window has at most. The largest file known has 384."""
MOST_WINDOWS = 2000
"""The number of windows in which the records of a file may lie: a day of one place, or an hour of 33.

Each takes all stages together 15 ms of CPU time, whatever it holds.
"""


class ObjectRef(Message):
    """One version of an object that arrived in the bucket."""

    object_id: str
    bucket: str
    key: str
    etag: str
    size: int
    arrived_at: int
    """When the store received it, epoch ms."""


class BlockRef(Message):
    """The location of a block, and the object it was made from."""

    bucket: str
    key: str
    object_id: str
    object_key: str
    crc32: int | None = None
    """CRC-32 of the block's bytes; None for blocks that were written before ADR 35."""


class RecordProblem(Message):
    """A problem of one record that was found on reading."""

    row: int
    reason: RecordReason
    detail: str


class RecordColumns(Columnar):
    """The times and states of the records of one device group in one file."""

    device: str
    kind: DeviceKind
    series: ShotSeries
    times: Integers
    """Epoch ms, ascending, as recorded."""
    states: list[str]
    """The states that occur."""
    state: Integers
    """Index into `states` for each record, or NO_STATE."""

    def of_state(self, state: str) -> NDArray[np.bool_]:
        """Return the records with this state, (n,)."""
        matches = np.array([each == state for each in self.states] + [False])
        found: NDArray[np.bool_] = matches[self.state]  # NO_STATE is the last entry
        return found


class ReadRecords(RecordColumns):
    """The records of one device group in one file, as they were read."""

    problems: list[RecordProblem]
    digest: Annotated[Digest, Field(discriminator="role")] | None
    """None for devices without data of their own (state only)."""

    @property
    def readable(self) -> NDArray[np.bool_]:
        """The records whose data could be read, as a mask (n,); their states may be missing."""
        unreadable = (each for each in self.problems if each.reason is not RecordReason.STATE_MISSING)
        readable = np.ones(len(self.state), np.bool_)
        readable[[each.row for each in unreadable]] = False
        return readable


class DeviceRecords(ReadRecords):
    """The records of one device group in one file, of which ingest stored the data as a block."""

    block: BlockRef


class FileIngested(StageMessage):
    """ingest → validate: a file was read, and its records are stored in blocks."""

    object: ObjectRef
    devices: list[DeviceRecords] = Field(max_length=MOST_DEVICES)

    @property
    def batch_size(self) -> int:
        return sum(len(device.times) for device in self.devices)


class JudgedRecords(RecordColumns):
    """The records of one device group in one file, with a verdict for each."""

    block: BlockRef
    reasons: list[str]
    """The reasons that occur, as `reason` or `reason: detail`; a few dozen at most (`reason_code`)."""
    verdict: Integers
    """VALID, or 1 + the index in `reasons`."""

    @property
    def refused(self) -> Counter[str]:
        """RecordReason → number of records that were refused for it."""
        codes = (self.verdict[self.verdict != VALID] - VALID - 1).tolist()
        return Counter(self.reasons[code].partition(":")[0] for code in codes)


class FileValidated(StageMessage):
    """validate → aggregate: every record of a file has been judged."""

    object: ObjectRef
    devices: list[JudgedRecords] = Field(max_length=MOST_DEVICES)

    @property
    def batch_size(self) -> int:
        return sum(len(device.times) for device in self.devices)

    @property
    def refused(self) -> Counter[str]:
        """RecordReason → number of records of the file that were refused for it."""
        return sum((device.refused for device in self.devices), Counter[str]())


@dataclass(frozen=True, slots=True)
class DeviceHistory:
    """The records of one device over a range of time, from all files, sorted by time."""

    times: NDArray[np.int64]
    """Epoch ms, (n,)."""
    state: NDArray[np.int64]
    """Index into `states`, or NO_STATE, (n,)."""
    states: tuple[str, ...]
    refused: Mapping[str, int]
    """Reason → number of refused records, over all files that overlap the time range."""


def window_count(records: Iterable[tuple[ShotSeries, Times]], interval_of: Callable[[str], Interval]) -> int:
    """Return in how many windows records lie, given the series and the times of each device of a file.

    They lie there by their own times. Their pulses may lie in the windows before or after.
    """
    starts = (
        (series, window_starts(times, interval_of(series.interval)).tolist()) for series, times in records
    )
    return len({(series, start) for series, of_device in starts for start in of_device})


def reason_code(reasons: list[str], reason: str) -> int:
    """Return the verdict for this reason (`reason` or `reason: detail`), and add it to the list if it is new.

    Details come from files. The list stays short whatever they contain: it has at most MOST_DETAILED_REASONS
    entries, plus one for each RecordReason.
    """
    reason = reason[:LONGEST_REASON]
    if reason not in reasons and len(reasons) >= MOST_DETAILED_REASONS:
        reason = reason.partition(":")[0]
    if reason not in reasons:
        reasons.append(reason)
    return VALID + 1 + reasons.index(reason)
