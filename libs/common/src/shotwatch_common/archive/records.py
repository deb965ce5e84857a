"""The records of each device: times, states and validation results, as columns per file and device."""

import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.earliest import earliest
from shotwatch_common.archive.secantus_gaps import steps
from shotwatch_shots.columns import pack, unpack_integers
from shotwatch_shots.reconciliation.sides import ValidatedRows
from shotwatch_shots.records import NO_STATE, DeviceHistory, JudgedRecords, ObjectRef

LONGEST_SILENCE_MS = 32 * 86_400_000
"""A device that has not recorded for longer has no known state and is no longer expected."""
_FIRST_SPAN_MS, _LONGEST_SPAN_MS = 600_000, 21_600_000
_LONGEST_FILE_MS = 86_400_000
"""A recorder writes one file per minute; the old layout has one file per day."""


class Records:
    """Collection `records`: `_id` is device and object key.

    A file that is sent again replaces its records.
    """

    def __init__(self, database: Any) -> None:
        self._records = database["records"]

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

    async def rows(self, object_keys: Sequence[str]) -> AsyncIterator[ValidatedRows]:
        """Yield how many records of each device in the files with these keys were validated and refused."""
        wanted = {"object_id": 1, "device": 1, "times": 1, "refused": 1}
        async for each in self._records.find({"object_key": {"$in": list(object_keys)}}, wanted):
            rows = len(np.frombuffer(zlib.decompress(each["times"]), "<i8"))
            yield ValidatedRows(each["object_id"], each["device"], rows, sum(each["refused"].values()))

    async def first_start(self, start_ms: int, end_ms: int) -> int | None:
        """Return the earliest start of a file's records in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._records, "start", start_ms, end_ms)

    async def sources(self, start_ms: int, end_ms: int) -> list[tuple[str, str]]:
        """Return device and object key of all files whose records start in [start, end) (epoch ms)."""
        begins = {"start": {"$gte": start_ms, "$lt": end_ms}}
        found = self._records.find(begins, {"device": 1, "object_key": 1})
        return [(document["device"], document["object_key"]) async for document in found]

    async def forget(self, object_keys: Sequence[str]) -> None:
        """Delete the records of the files with these keys."""
        await self._records.delete_many({"object_key": {"$in": list(object_keys)}})

    async def of_device(self, device: str, start_ms: int, end_ms: int) -> DeviceHistory:
        """Return the device's records with start <= time < end (epoch ms).

        A span in which the device was silent costs one small query.
        """
        first = start_ms - _LONGEST_FILE_MS
        documents = [
            document
            for begin, stop in steps(first, await self._latest_start(device, first, end_ms) + 1)
            async for document in self._records.find(
                {"device": device, "start": {"$gte": begin, "$lt": stop}}
            )
            if document["end"] >= start_ms
        ]
        return _joined(documents, start_ms, end_ms)

    async def state_before(self, device: str, time_ms: int) -> str | None:
        """Return the state at the device's last record before a time (epoch ms).

        Return None if no file in the LONGEST_SILENCE_MS before that time has a record with a state. The
        search passes over times without files, and otherwise goes back in steps that double in length, up to
        6 h. So it reads little, whatever the device has recorded.
        """
        first, end, length = time_ms - LONGEST_SILENCE_MS, time_ms, _FIRST_SPAN_MS
        while end > first:
            start = max(end - length, first)
            wanted = {"device": device, "start": {"$gte": start, "$lt": end}}
            found = self._records.find(wanted, {"times": 1, "states": 1, "state": 1})
            known = [_last_before(document, time_ms) async for document in found]
            if last := max(filter(None, known), default=None):
                return last[1]
            end = await self._latest_start(device, first, start) + 1
            length = min(2 * length, _LONGEST_SPAN_MS)
        return None

    async def _latest_start(self, device: str, start_ms: int, end_ms: int) -> int:
        """Return the latest start of a file in [start_ms, end_ms); start_ms - 1 if there is none."""
        wanted = {"device": device, "start": {"$gte": start_ms, "$lt": end_ms}}
        found = self._records.find(wanted, {"start": 1}).sort("start", DESCENDING).limit(1)
        return next(iter([document["start"] async for document in found]), start_ms - 1)


def _document(obj: ObjectRef, judged: JudgedRecords) -> dict[str, Any]:
    times = np.diff(judged.times, prepend=0)
    return {
        "_id": f"{judged.device}/{obj.key}",
        "device": judged.device,
        "object_id": obj.object_id,
        "object_key": obj.key,
        "arrived_at": obj.arrived_at,
        "start": int(judged.times[0]),
        "end": int(judged.times[-1]),
        "times": zlib.compress(pack(times, "<i8")),
        "states": judged.states,
        "state": zlib.compress(pack(judged.state, "<i4")),
        "refused": dict(judged.refused),
    }


def _joined(documents: Sequence[Mapping[str, Any]], start_ms: int, end_ms: int) -> DeviceHistory:
    states = tuple(sorted({state for document in documents for state in document["states"]}))
    empty = np.empty(0, np.int64)
    times = np.concatenate([empty, *(_times(document) for document in documents)])
    state = np.concatenate([empty, *(_codes(document, states) for document in documents)])
    order = np.argsort(times, kind="stable")
    order = order[(times[order] >= start_ms) & (times[order] < end_ms)]
    refused: dict[str, int] = {}
    for document in documents:
        for reason, count in document["refused"].items():
            refused[reason] = refused.get(reason, 0) + count
    return DeviceHistory(times[order], state[order], states, refused)


def _last_before(document: Mapping[str, Any], time_ms: int) -> tuple[int, str] | None:
    """Return time and state of the document's last record before a time that has a state."""
    states = document["states"]
    times, state = _times(document), _codes(document, states)
    known = np.flatnonzero((times < time_ms) & (state != NO_STATE))
    return (int(times[known[-1]]), states[state[known[-1]]]) if len(known) else None


def _times(document: Mapping[str, Any]) -> NDArray[np.int64]:
    return np.cumsum(np.frombuffer(zlib.decompress(document["times"]), "<i8"))


def _codes(document: Mapping[str, Any], states: Sequence[str]) -> NDArray[np.int64]:
    """Return the states of a document's records as indices into `states`."""
    numbers = {state: number for number, state in enumerate(states)}
    renumbered = np.array([*(numbers[state] for state in document["states"]), NO_STATE])
    stored = unpack_integers(zlib.decompress(document["state"]), len(_times(document)))
    codes: NDArray[np.int64] = renumbered[stored]
    return codes
