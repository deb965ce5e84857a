"""The exchange between the service and its reader processes: messages, and the workspace of one file.

A request consists of two pickled objects, the CPU time that the file has left (s) and the `Request`, and
comes with the descriptors of the workspace. Replies come from a process that has read hostile bytes. They are
therefore plain data, and `verification` checks them. The records are JSON. The columns of their blocks are
arrays in the workspace, without any description: the service knows their types and shapes from the facility
file, and their lengths from the number of records.
"""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from time import monotonic
from types import TracebackType
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, TypeAdapter

from shotwatch_common.block import Array, Block
from shotwatch_common.turns import ProcessorUse
from shotwatch_ingest.domain.expectation import MAX_NAME_BYTES
from shotwatch_ingest.domain.snapshot import DeviceSnapshot, Snapshot, columns_of
from shotwatch_shots.errors import Retry
from shotwatch_shots.facility import Facility, FileName
from shotwatch_shots.ledger import SkippedPart
from shotwatch_shots.message import Message
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import NO_STATE, BlockRef, DeviceRecords, ReadRecords
from shotwatch_shots.vocabulary import FileReason, SkipReason

FRAME_HEADER_BYTES = 8
"""Size of the header of every message: its length, little-endian."""

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  files without a name
_MIN_FREE_BYTES = 1 << 30
MAX_REQUEST_BYTES = 64 << 10
_MAX_CPU_SECONDS = 30.0
_MIN_CPU_SECONDS = 5.0
_BYTES_PER_CPU_SECOND = 10 << 20
Request = tuple[FileName, str, int]
"""The parsed file name, the key, and the latest time of a record (epoch ms)."""
MAX_REPLY_BYTES = 12 << 20
"""Maximum size of a reply.

RabbitMQ accepts messages of 16 MiB. `FileIngested` consists of the reply and a reference to each device's
block: two keys of at most 1 KiB and two ids, at most 8 KiB in JSON. With 384 devices that is 15 MiB.
"""


def cpu_seconds(size: int) -> float:
    """Return the CPU time (s) that a file of `size` bytes may take in all; then SIGPROF ends the reader.

    A recorder's file of 5 MiB takes a tenth of a second. The limit grows with the size, so that a small file
    cannot delay others for as long as a large one may.
    """
    return min(_MIN_CPU_SECONDS + size / _BYTES_PER_CPU_SECOND, _MAX_CPU_SECONDS)


class CpuTime:
    """The CPU time that a file may take, over all attempts to read it."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextmanager
    def taken(self, use: Callable[[], ProcessorUse | None]) -> Iterator[float]:
        """Yield what is left, for one attempt, and charge the attempt for its CPU time.

        `use` measures the reader. The CPU time of a reader that died is not known, so the attempt is charged
        for its wall-clock time. That is no less, because a reader can start no threads.
        """
        start, before = monotonic(), use()
        try:
            yield self.left
        finally:
            after = use()
            self.left -= after.running - before.running if before and after else monotonic() - start


class ReadDevice(ReadRecords):
    """The records of one device group, whose name can be part of a key."""

    device: str = Field(pattern=r"^[^/]+$", max_length=MAX_NAME_BYTES)

    def block(self, arrays: dict[str, Array]) -> Block:
        """Return the block of these records; `arrays` are its columns of data."""
        states: list[str | None] = [*self.states, None]  # NO_STATE is the last entry
        stated = [states[number] for number in self.state.tolist()]
        return Block(self.device, self.times, stated, self.readable, arrays)

    def records(self, block: BlockRef) -> DeviceRecords:
        """Return the message; the block must be in the store."""
        columns = {name: getattr(self, name) for name in type(self).model_fields}
        return DeviceRecords(**columns, block=block)


@dataclass(frozen=True, slots=True)
class WrittenColumn:
    """A column of a block in the workspace: the bytes of a contiguous little-endian array."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    """(n, ...)"""
    start: int
    """Offset in the workspace."""

    @property
    def size(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def written_columns(devices: Sequence[ReadDevice], facility: Facility) -> list[list[WrittenColumn]]:
    """Return the columns of each device's block; they lie one after the other in the workspace."""
    start = 0
    written = []
    for read in devices:
        columns = []
        for (name, dtype), dataset in columns_of(read.device, facility):
            column = WrittenColumn(name, dtype.newbyteorder("<"), (len(read.times), *dataset.shape), start)
            columns.append(column)
            start += column.size
        written.append(columns)
    return written


MAX_TEXT = 4096
"""Maximum number of characters of a text in a reply. Longer ones are shortened by the reader."""
_Detail = Annotated[str, Field(max_length=MAX_TEXT)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]


class ReadFile(Message):
    """The outcome of a file that was read."""

    outcome: Literal["read"] = "read"
    devices: list[ReadDevice]
    skipped: dict[SkipReason, _Count]
    """Number of skipped parts of the file, by reason."""
    examples: list[SkippedPart]
    """Two examples for each of these reasons."""


class Rejected(Message):
    """The outcome of a file that cannot be read."""

    outcome: Literal["rejected"] = "rejected"
    reason: FileReason
    detail: _Detail


class Failed(Message):
    """The outcome of a failure that is not necessarily the file's fault."""

    outcome: Literal["failed"] = "failed"
    cause: Literal["memory", "scratch", "bug"]
    detail: _Detail


ReadOutcome = ReadFile | Rejected | Failed
outcomes: TypeAdapter[ReadOutcome] = TypeAdapter(Annotated[ReadOutcome, Field(discriminator="outcome")])


class Workspace:
    """Two unnamed files, in memory if there is room, else in the folder of temporary files.

    Only processes that receive their descriptors can open them. They disappear with the last process that has
    them open. A context manager that closes them.

    Raises:
        Retry: they cannot be created.
    """

    def __init__(self) -> None:
        folder = _folder()
        try:
            with ExitStack() as opened:
                self._image, self._blocks = (
                    opened.enter_context(TemporaryFile(dir=folder, buffering=0)) for _ in range(2)
                )
                self._files = opened.pop_all()
        except OSError as error:
            raise Retry(f"the scratch folder: {error}") from error

    def take(self, piece: bytes) -> None:
        """Append bytes to those of the file.

        Raises:
            Retry: there is no room for them.
        """
        try:
            write_all(self.image, piece)
        except OSError as error:
            raise Retry(f"the scratch folder: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._files.close()

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return os.fstat(self.image).st_size

    def content(self) -> bytes:
        """Return the file's bytes."""
        return os.pread(self.image, self.size, 0)

    @property
    def image(self) -> int:
        """The descriptor of the file's bytes."""
        return self._image.fileno()

    @property
    def blocks(self) -> int:
        """The descriptor of the columns of the blocks, one after the other."""
        return self._blocks.fileno()

    @property
    def written_bytes(self) -> int:
        """Size of the file of the columns, in bytes."""
        return os.fstat(self.blocks).st_size

    def arrays(self, columns: Sequence[WrittenColumn]) -> dict[str, Array]:
        """Return copies of columns by their names. Raise ValueError if the file ends before."""
        copied = ((each, os.pread(self.blocks, each.size, each.start)) for each in columns)
        return {each.name: np.frombuffer(data, each.dtype).reshape(each.shape) for each, data in copied}


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(FRAME_HEADER_BYTES, "little") + body


def read_file(snapshot: Snapshot) -> ReadFile:
    """Return the records of a file as a message."""
    devices, skipped = [read_device(each, snapshot.interval) for each in snapshot.devices], snapshot.skipped
    return ReadFile(devices=devices, skipped=dict(skipped.counts), examples=skipped.examples)


def read_device(snapshot: DeviceSnapshot, interval: str) -> ReadDevice:
    """Return the records of a device as a message."""
    device, block = snapshot.device, snapshot.block
    states = sorted({state for state in block.state if state is not None})
    numbers: dict[str | None, int] = {state: n for n, state in enumerate(states)}
    return ReadDevice(
        device=device.group,
        kind=device.kind,
        series=ShotSeries(place=device.place, interval=interval),
        times=block.time,
        states=states,
        state=np.array([numbers.get(state, NO_STATE) for state in block.state]),
        problems=list(snapshot.problems),
        digest=snapshot.digest,
    )


def read_all(descriptor: int) -> bytes:
    """Return all bytes of a file, whatever its current position."""
    return os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_END), 0)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all data at the file's current position.

    Raises:
        OSError: there is no room.
    """
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _folder() -> Path:
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _MIN_FREE_BYTES:
        return _IN_MEMORY
    return Path(gettempdir())
