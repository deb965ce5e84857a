"""The records of each device: times, states and validation results, as columns per file and device."""

import zlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Database, Document, DocumentCursor, Filter
from shotwatch_common.archive.earliest import earliest, first
from shotwatch_common.archive.readable import all_readable, inflated, number, numbers, readable, text, texts
from shotwatch_common.archive.secantus_gaps import among, steps
from shotwatch_shots.columns import pack, unpack_integers
from shotwatch_shots.reconciliation.sides import FileVersion, ValidatedRows
from shotwatch_shots.records import NO_STATE, DeviceHistory, JudgedRecords, ObjectRef

LONGEST_SILENCE_MS = 32 * 86_400_000
"""A device that has not recorded for longer has no known state and is no longer expected."""
_NAME = "records"
_FIRST_SPAN_MS, _LONGEST_SPAN_MS = 600_000, 21_600_000
_LONGEST_FILE_MS = 86_400_000
"""A recorder writes one file per minute; the old layout has one file per day."""


@dataclass(frozen=True, slots=True)
class _FileRecords:
    """The records of one device in one file."""

    end: int
    """Time of the last record, epoch ms."""
    times: NDArray[np.int64]
    """Epoch ms, (n,)."""
    states: tuple[str, ...]
    state: NDArray[np.int64]
    """Index into `states`, or NO_STATE, (n,)."""
    refused: Mapping[str, int]

    @classmethod
    def of(cls, document: Document) -> Self:
        times, states = (
            np.cumsum(np.frombuffer(inflated(document["times"]), "<i8")),
            texts(document["states"]),
        )
        state = unpack_integers(inflated(document["state"]), len(times))
        if len(state) and not NO_STATE <= state.min() <= state.max() < len(states):
            raise ValueError("a record has a state that the document does not name")
        return cls(number(document["end"]), times, states, state, numbers(document["refused"]))

    def codes(self, states: Sequence[str]) -> NDArray[np.int64]:
        """Return the states of the records as indices into `states`, (n,)."""
        numbers = {state: number for number, state in enumerate(states)}
        renumbered = np.array([*(numbers[state] for state in self.states), NO_STATE])
        codes: NDArray[np.int64] = renumbered[self.state]
        return codes

    def last_before(self, time_ms: int) -> tuple[int, str] | None:
        """Return time and state of the last record before a time that has a state."""
        known = np.flatnonzero((self.times < time_ms) & (self.state != NO_STATE))
        return (int(self.times[known[-1]]), self.states[self.state[known[-1]]]) if len(known) else None


class Records:
    """Collection `records`: `_id` is device and object key.

    A file that is sent again replaces its records.
    """

    def __init__(self, database: Database) -> None:
        self._records = database[_NAME]

    async def ensure_indexes(self) -> None:
        await self._records.create_index([("device", 1), ("start", 1)])
        await self._records.create_index([("object_key", 1)])
        await self._records.create_index([("start", 1)])

    async def keep(self, obj: ObjectRef, judged: JudgedRecords) -> None:
        """Write the records of a device in a file, unless those of a later version of the file are stored."""
        if not len(judged.times):
            return
        document = _document(obj, judged)
        try:
            await self._records.insert_one(document)
        except DuplicateKeyError:
            no_later = {"_id": document["_id"], "arrived_at": {"$lte": obj.arrived_at}}
            await self._records.update_one(no_later, {"$set": document})

    async def clear_earlier(self, obj: ObjectRef) -> None:
        """Remove what is left of earlier versions of a file: the records of devices that it has no longer.

        Call this after all devices of the file are kept. The documents stay, without records.
        """
        left = {"object_key": obj.key, "arrived_at": {"$lt": obj.arrived_at}}
        of_version = {"object_id": obj.object_id, "arrived_at": obj.arrived_at}
        none = np.empty(0, np.int64)
        emptied = {**_columns(none, (), none), "refused": {}}
        await self._records.update_many(left, {"$set": emptied | of_version})

    async def rows(self, object_keys: Sequence[str]) -> AsyncIterator[ValidatedRows]:
        """Yield how many records of each device in the files with these keys were validated and refused."""
        wanted = {"object_id": 1, "device": 1, "times": 1, "refused": 1}
        found = among(self._records, "object_key", object_keys, wanted)
        async for each in readable(found, _rows, _NAME):
            yield each

    async def first_start(self, start_ms: int, end_ms: int) -> int | None:
        """Return the earliest start of a file's records in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._records, _NAME, "start", start_ms, end_ms)

    async def sources(self, start_ms: int, end_ms: int) -> list[tuple[str, FileVersion]]:
        """Return device and file version of all records that start in [start, end) (epoch ms)."""
        begins = {"start": {"$gte": start_ms, "$lt": end_ms}}
        found = self._records.find(begins, {"device": 1, "object_key": 1, "object_id": 1})
        return await all_readable(found, _source, _NAME)

    async def forget(self, object_keys: Sequence[str]) -> None:
        """Delete the records of the files with these keys."""
        await self._records.delete_many({"object_key": {"$in": list(object_keys)}})

    async def of_device(self, device: str, start_ms: int, end_ms: int) -> DeviceHistory:
        """Return the device's records with start <= time < end (epoch ms).

        A span in which the device was silent costs one small query.
        """
        earliest_start = start_ms - _LONGEST_FILE_MS
        files = [
            file
            for begin, stop in steps(
                earliest_start, await self._latest_start(device, earliest_start, end_ms) + 1
            )
            async for file in readable(self._starting(device, begin, stop), _FileRecords.of, _NAME)
            if file.end >= start_ms
        ]
        return _joined(files, start_ms, end_ms)

    async def state_before(self, device: str, time_ms: int) -> str | None:
        """Return the state at the device's last record before a time (epoch ms).

        Return None if no file in the LONGEST_SILENCE_MS before that time has a record with a state. The
        search passes over times without files, and otherwise goes back in steps that double in length, up to
        6 h. So it reads little, whatever the device has recorded.
        """
        first, end, length = time_ms - LONGEST_SILENCE_MS, time_ms, _FIRST_SPAN_MS
        while end > first:
            start = max(end - length, first)
            files = await all_readable(self._starting(device, start, end), _FileRecords.of, _NAME)
            known = [file.last_before(time_ms) for file in files]
            if last := max(filter(None, known), default=None):
                return last[1]
            end = await self._latest_start(device, first, start) + 1
            length = min(2 * length, _LONGEST_SPAN_MS)
        return None

    async def _latest_start(self, device: str, start_ms: int, end_ms: int) -> int:
        """Return the latest start of a file in [start_ms, end_ms); start_ms - 1 if there is none."""
        latest = await first(
            lambda: self._starting(device, start_ms, end_ms, {"start": 1}).sort("start", DESCENDING),
            lambda each: number(each["start"]),
            _NAME,
        )
        return start_ms - 1 if latest is None else latest

    def _starting(
        self, device: str, start_ms: int, end_ms: int, fields: Filter | None = None
    ) -> DocumentCursor:
        """Return the records of files that start in [start, end) (epoch ms)."""
        return self._records.find({"device": device, "start": {"$gte": start_ms, "$lt": end_ms}}, fields)


def _document(obj: ObjectRef, judged: JudgedRecords) -> Document:
    return {
        "_id": f"{judged.device}/{obj.key}",
        "device": judged.device,
        "object_id": obj.object_id,
        "object_key": obj.key,
        "arrived_at": obj.arrived_at,
        "start": int(judged.times[0]),
        "end": int(judged.times[-1]),
        **_columns(judged.times, judged.states, judged.state),
        "refused": dict(judged.refused),
    }


def _columns(times: NDArray[np.int64], states: Sequence[str], state: NDArray[np.integer]) -> Document:
    return {
        "times": zlib.compress(pack(np.diff(times, prepend=0), "<i8")),
        "states": list(states),
        "state": zlib.compress(pack(state, "<i4")),
    }


def _joined(files: Sequence[_FileRecords], start_ms: int, end_ms: int) -> DeviceHistory:
    states = tuple(sorted({state for file in files for state in file.states}))
    empty = np.empty(0, np.int64)
    times = np.concatenate([empty, *(file.times for file in files)])
    state = np.concatenate([empty, *(file.codes(states) for file in files)])
    order = np.argsort(times, kind="stable")
    order = order[(times[order] >= start_ms) & (times[order] < end_ms)]
    refused: Counter[str] = Counter()
    for file in files:
        refused.update(file.refused)
    return DeviceHistory(times[order], state[order], states, dict(refused))


def _source(document: Document) -> tuple[str, FileVersion]:
    file = FileVersion(text(document["object_key"]), text(document["object_id"]))
    return text(document["device"]), file


def _rows(document: Document) -> ValidatedRows:
    rows = len(np.frombuffer(inflated(document["times"]), "<i8"))
    refused = sum(numbers(document["refused"]).values())
    return ValidatedRows(text(document["object_id"]), text(document["device"]), rows, refused)
