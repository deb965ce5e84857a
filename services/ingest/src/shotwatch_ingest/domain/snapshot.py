"""Snapshot files: from the bytes of an HDF5 file to the records of each device, as columns.

Both layouts of the facility are read. A damaged record is listed with its problem and does not affect others.
A file is rejected only if no record can be read from it, or if it exceeds a size limit. Digests of the data
let validation judge the records without reading pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from h5py import h5d
from numpy.typing import NDArray

from shotwatch_common.block import MAX_DATA_BYTES, Block
from shotwatch_common.printable import printable
from shotwatch_ingest.domain.hdf5.datasets import RepeatedDatasets, load_numbers, load_text
from shotwatch_ingest.domain.hdf5.image import Hdf5Image, Unreadable
from shotwatch_ingest.domain.inventory import Inventory, RecordLocation, SkippedParts
from shotwatch_shots.device_kinds import DEVICE_KINDS, Digest
from shotwatch_shots.errors import Reject
from shotwatch_shots.facility import Dataset, Device, Facility, FileName
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import MOST_WINDOWS, RecordProblem, window_count
from shotwatch_shots.vocabulary import FileReason, RecordReason

Array = NDArray[Any]
Column = tuple[str, np.dtype[np.generic]]
"""The name and the type of a column of a block."""

MAX_DECODED_BYTES = 512 << 20
"""Maximum size of all columns of a file."""
MAX_STATE_BYTES = 64
MAX_STATES = 32
"""Maximum number of different states of one device in one file."""


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """The records of one device group, in order of time."""

    device: Device
    block: Block
    problems: tuple[RecordProblem, ...]
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of a file: at least one record of at least one device."""

    interval: str
    devices: tuple[DeviceSnapshot, ...]
    skipped: SkippedParts


def read_snapshot(key: str, image: bytes, name: FileName, facility: Facility, latest_ms: int) -> Snapshot:
    """Read the bytes of a whole file.

    Cameras of the older layout, which has no states, count as ON. Records later than `latest_ms` (epoch ms)
    are skipped.

    Raises:
        Reject: with a FileReason, and a detail that names the file, the place in it and the problem there.
    """
    with Hdf5Image(key, image) as file:
        inventory = Inventory(file, name, facility, latest_ms)
        _require_fitting(key, inventory, facility)
        _require_few_windows(key, inventory, name.interval, facility)
        stated = name.layout.arrangement != "images"
        devices = tuple(
            _read_device(device, _Reading(file, records), facility, stated)
            for device, records in inventory.records.items()
        )
    _require_right_types(key, devices)
    return Snapshot(name.interval, devices, inventory.skipped)


class _Reading:
    """The reading of one device's records, one dataset name after the other, and the problems found."""

    def __init__(self, file: Hdf5Image, records: Sequence[RecordLocation]) -> None:
        self._file = file
        self._records = records
        self.problems: list[RecordProblem] = []

    def times(self) -> NDArray[np.int64]:
        return np.array([record.time for record in self._records], np.int64)

    def readable(self) -> NDArray[np.bool_]:
        """Return a mask of the records without a problem so far."""
        readable = np.ones(len(self._records), np.bool_)
        readable[[problem.row for problem in self.problems]] = False
        return readable

    def column(self, dataset: Dataset, dtype: np.dtype[np.generic]) -> Array:
        """Return (n, ...) numbers; where they cannot be read, arrays are 0 and single numbers NaN."""
        shape = (len(self._records), *dataset.shape)
        column = np.zeros(shape, dtype) if dataset.shape else np.full(shape, np.nan, dtype)

        def keep(row: int, numbers: Array) -> None:
            _require_representable(numbers, dtype)
            column[row] = numbers if dataset.shape else _finite(numbers[0], dtype)

        whole = dtype.kind == "u"
        with np.errstate(over="ignore"):  # too large for float32: becomes infinite, and is judged as such
            self._read(dataset.name, partial(load_numbers, shape=dataset.shape, whole=whole), keep)
        return column

    def states(self, name: str) -> list[str | None]:
        states: list[str | None] = [None] * len(self._records)
        different: set[str] = set()

        def keep(row: int, text: Array) -> None:
            state = _state(text)
            if state not in different and len(different) == MAX_STATES:
                raise Unreadable(
                    RecordReason.STATE_MISSING, f"is one more than {MAX_STATES} different states"
                )
            different.add(state)
            states[row] = state

        self._read(name, load_text, keep, RecordReason.STATE_MISSING)
        return states

    def _read(
        self,
        name: str,
        load: Callable[[h5d.DatasetID], Array],
        keep: Callable[[int, Array], None],
        reason: RecordReason | None = None,
    ) -> None:
        """Load every record's dataset of that name; problems get the given reason, or their own if None."""
        repeated = RepeatedDatasets(self._file, load)
        for row, record in enumerate(self._records):
            try:
                link = record.datasets.get(name.encode())
                if link is None:
                    raise Unreadable(RecordReason.DATA_MISSING, "is not there")
                keep(row, repeated.read(link))
            except Unreadable as error:
                detail = f"{name} {error.detail}"
                problem = RecordProblem(row=row, reason=reason or error.reason, detail=detail)
                self.problems.append(problem)


def _read_device(device: Device, reading: _Reading, facility: Facility, stated: bool) -> DeviceSnapshot:
    columns = columns_of(device.group, facility)
    arrays = {column: reading.column(dataset, dtype) for (column, dtype), dataset in columns}
    readable = reading.readable()
    states = reading.states(facility.state.dataset) if stated else [facility.state.on] * len(readable)
    digest = DEVICE_KINDS[device.kind].digest
    return DeviceSnapshot(
        device,
        Block(device.group, reading.times(), states, readable, arrays),
        tuple(reading.problems),
        digest.of(arrays, readable, facility.frames.saturated_at) if digest else None,
    )


def _state(text: Array) -> str:
    """Return a state in printable form, so that `ON` with an escape sequence is not `ON`.

    Raises:
        Unreadable: it is empty or too long.
    """
    raw: bytes = text[0] or b""
    stated = raw.partition(b"\0")[0].strip(b" ")
    if not stated:
        raise Unreadable(RecordReason.STATE_MISSING, "is empty")
    if len(stated) > MAX_STATE_BYTES:
        raise Unreadable(RecordReason.STATE_MISSING, f"has {len(stated)} bytes, more than {MAX_STATE_BYTES}")
    return printable(stated.decode(errors="replace"))


def _finite(number: np.generic, dtype: np.dtype[np.generic]) -> np.generic:
    """Return a single number in the column's type.

    Raises:
        Unreadable: it is not finite, or became infinite in the conversion.
    """
    value = dtype.type(number)
    if not math.isfinite(value):
        raise Unreadable(RecordReason.NOT_FINITE, f"is {value}, not a finite number")
    return value


def _require_representable(numbers: Array, dtype: np.dtype[Any]) -> None:
    if dtype.kind == "f" or np.can_cast(numbers.dtype, dtype):
        return
    bounds = np.iinfo(dtype)
    if numbers.min() < bounds.min or numbers.max() > bounds.max:
        raise Unreadable(RecordReason.OUT_OF_RANGE, f"has values outside {bounds.min}..{bounds.max}")


def columns_of(group: str, facility: Facility) -> list[tuple[Column, Dataset]]:
    """Return the columns of the data of a device's block, each with its dataset in a file."""
    family = facility.device_type(group)
    return list(zip(DEVICE_KINDS[family.kind].columns.items(), family.datasets, strict=True))


def record_bytes(group: str, facility: Facility) -> int:
    """Return the size of the data of one record of a device, in bytes."""
    return sum(
        dtype.itemsize * math.prod(dataset.shape) for (_, dtype), dataset in columns_of(group, facility)
    )


def _require_fitting(key: str, inventory: Inventory, facility: Facility) -> None:
    """Check the size of the columns against the limits and against the memory that is left.

    Raises:
        Reject: those of a device are larger than MAX_DATA_BYTES, or all together than MAX_DECODED_BYTES.
        MemoryError: they are larger than the memory that is left.
    """
    size = 0
    for device, records in inventory.records.items():
        of_device = len(records) * record_bytes(device.group, facility)
        if of_device > MAX_DATA_BYTES:
            raise Reject(
                FileReason.TOO_LARGE,
                f"{key}: {device.group}: {len(records)} records hold {of_device} bytes of data, "
                f"{MAX_DATA_BYTES} at most are read of a device",
            )
        size += of_device
    if size > MAX_DECODED_BYTES:
        raise Reject(
            FileReason.TOO_LARGE, f"{key}: /: holds {size} bytes of data, more than are read at once"
        )
    # Libraries in C may crash where memory ends: fail here if the columns do not fit.
    np.empty(size, np.uint8)


def _require_few_windows(key: str, inventory: Inventory, interval: str, facility: Facility) -> None:
    """Reject a file as TOO_LARGE whose records lie in too many windows."""
    times = (
        (ShotSeries(place=device.place, interval=interval), np.array([each.time for each in records]))
        for device, records in inventory.records.items()
    )
    if (count := window_count(times, facility.interval)) > MOST_WINDOWS:
        raise Reject(
            FileReason.TOO_LARGE,
            f"{key}: /: holds records in {count} windows, a minute of a place each; "
            f"{MOST_WINDOWS} at most are read of a file",
        )


def _require_right_types(key: str, devices: Sequence[DeviceSnapshot]) -> None:
    """Reject a file all of whose data have wrong types: it is not from the recorder that its name gives."""
    if any(device.block.readable.any() for device in devices):
        return
    problems = [problem for device in devices for problem in device.problems]
    wrong = [problem.detail for problem in problems if problem.reason is RecordReason.WRONG_TYPE]
    unstated = [problem for problem in problems if problem.reason is RecordReason.STATE_MISSING]
    if len(wrong) + len(unstated) == len(problems):
        raise Reject(FileReason.WRONG_TYPES, f"{key}: {devices[0].device.group}: in every record {wrong[0]}")
