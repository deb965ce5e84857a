"""Windows of the join: one document per place, interval and minute, changed by compare-and-set."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymongo.errors import OperationFailure

from shotwatch_common.archive.driver import TRANSIENT, Database, Document, Filter
from shotwatch_common.archive.earliest import earliest
from shotwatch_common.archive.secantus_gaps import FIRST_SET
from shotwatch_common.archive.unused_sources import UnusedSources, source_id
from shotwatch_common.archive.versioned import save_version
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.columns import checked_cast, pack, unpack_integers
from shotwatch_shots.errors import Bug
from shotwatch_shots.facility import Interval, duration_ms
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import pulses_per_window
from shotwatch_shots.reconciliation.sides import ClosedWindow, JoinedRows
from shotwatch_shots.records import VALID, BlockRef
from shotwatch_shots.vocabulary import DeviceKind
from shotwatch_shots.window import DeviceColumns, RecordSource, Window

NEVER = 0
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class KnownWindow:
    """A window, and the files that it was joined from."""

    id: str
    start: int
    """Epoch ms."""
    files: tuple[str, ...]
    """Keys of the files."""


class Windows:
    """Collection `windows`: `_id` is the window id; `version` counts changes.

    A change is written only if the window has not changed since it was read. The messages that result from a
    change are written with it, to `outbox`, and removed once they are published. `outbox_since` is the time
    at which the oldest of them was added, NEVER if there is none. `deadline` is the time at which the
    window's open shots close, NEVER if none is open. Both are epoch ms. `again` requests that closed shots
    are closed again.
    """

    def __init__(self, database: Database) -> None:
        self._windows = database["windows"]
        self._unused = UnusedSources(database)

    async def ensure_indexes(self) -> None:
        await self._windows.create_index([("deadline", 1)])
        await self._windows.create_index([("outbox_since", 1)])
        await self._windows.create_index([("files", 1)])
        await self._windows.create_index([("start", 1)])
        await self._unused.ensure_indexes()

    async def load(self, window_id: str, interval_of: Callable[[str], Interval]) -> Window | None:
        """Return a window, or None if it does not exist. `interval_of` is the facility's.

        Raises:
            Bug: the document is not a valid window.
        """
        document = await self._windows.find_one({"_id": window_id})
        return None if document is None else from_document(document, interval_of)

    async def save(self, window: Window, deadline: int) -> bool:
        """Write version n over version n - 1, or the first version. Its unused sources are written first.

        Return False if another process has changed the window since it was read.

        Raises:
            Bug: the database does not accept the window; the message names it.
        """
        await self._unused.add(window)
        document = {
            **to_document(window),
            "deadline": deadline,
            "outbox_since": epoch_now() if window.outbox else NEVER,
        }
        try:
            return await save_version(self._windows, document)
        except TRANSIENT:
            raise
        except (Bug, OperationFailure) as error:
            raise Bug(f"window {window.id} cannot be written: {error}") from error

    async def strike_off(self, window_id: str, batch_id: str) -> None:
        """Remove a published batch's message from the outbox.

        This counts as a change, so a process that read the window earlier cannot put the message back.
        """
        await self._windows.update_one(
            {"_id": window_id}, {"$unset": {f"outbox.{batch_id}": ""}, "$inc": {"version": 1}}
        )
        await self.note_sent(window_id)

    async def note_sent(self, window_id: str) -> None:
        """Clear `outbox_since` if the outbox is empty.

        Another replica may have removed the last message and crashed before clearing it.
        """
        await self._windows.update_one({"_id": window_id, "outbox": {}}, {"$set": {"outbox_since": NEVER}})

    async def of_file(self, object_key: str) -> list[tuple[ShotSeries, int]]:
        """Return series and start (epoch ms) of the windows that hold records of a file."""
        wanted = dict.fromkeys(("place", "interval", "start"), 1)
        found = self._windows.find({"files": object_key}, wanted)
        return [(_series(document), document["start"]) async for document in found]

    async def between(self, start_ms: int, end_ms: int) -> list[KnownWindow]:
        """Return the windows with start <= first pulse < end (epoch ms), sorted by time."""
        found = self._windows.find({"start": {"$gte": start_ms, "$lt": end_ms}}, {"start": 1, "files": 1})
        known = [KnownWindow(d["_id"], d["start"], tuple(d["files"])) async for d in found]
        return sorted(known, key=lambda window: (window.start, window.id))

    async def rows(self, object_keys: Sequence[str]) -> AsyncIterator[JoinedRows]:
        """Yield what each window holds of the files with these keys, and what windows had no room for."""
        held: set[str] = set()
        fields = ("device", "source", "verdict", "sources.object_id", "sources.displaced")
        wanted = dict.fromkeys((f"devices.{field}" for field in fields), 1)
        async for window in self._windows.find({"files": {"$in": list(object_keys)}}, wanted):
            for device in window["devices"]:
                source = np.frombuffer(device["source"], "<i2")
                refused = unpack_integers(device["verdict"], len(source)) != VALID
                for n, each in enumerate(device["sources"]):
                    held.add(source_id(window["_id"], device["device"], each["object_id"]))
                    valid, not_valid = int((~refused[source == n]).sum()), int(refused[source == n].sum())
                    yield JoinedRows(each["object_id"], device["device"], valid, not_valid, each["displaced"])
        async for unused in self._unused.rows(object_keys, held):
            yield unused

    async def closed(self, start_ms: int, end_ms: int) -> list[ClosedWindow]:
        """Return the windows with start <= first pulse < end (epoch ms), with their closed pulses."""
        wanted = {"start": 1, "interval": 1, "revision": 1, "outbox_since": 1, "files": 1}
        found = self._windows.find({"start": {"$gte": start_ms, "$lt": end_ms}}, wanted)
        return [_closed(document) async for document in found]

    async def first_start(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first window starts in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._windows, "start", start_ms, end_ms)

    async def ask_again(self, window_id: str) -> bool:
        """Request that the window's shots are closed again at their next revision.

        Return False, without any effect, while any of its shots is open.
        """
        changes = {"$set": {"again": True, "deadline": epoch_now()}, "$inc": {"version": 1}}
        result = await self._windows.update_one({"_id": window_id, "deadline": NEVER}, changes)
        return bool(result.modified_count)

    async def at_rest(self, window_id: str) -> bool:
        """Return whether no shot of the window is open or to be closed again, and the outbox is empty."""
        resting = {"_id": window_id, "deadline": NEVER, "outbox_since": NEVER}
        return await self._windows.find_one(resting, {"_id": 1}) is not None

    async def overdue(self, now_ms: int, besides: int = 0) -> list[str]:
        """Return the ids of windows whose deadline has passed: up to AT_ONCE, plus `besides`."""
        return await self._ids({"deadline": {"$gte": FIRST_SET, "$lte": now_ms}}, besides)

    async def unfinished(self) -> bool:
        """Return whether any window has open shots or an unpublished message."""
        waiting: list[Filter] = [{name: {"$gte": FIRST_SET}} for name in ("deadline", "outbox_since")]
        return any([await self._windows.find_one(each, {"_id": 1}) for each in waiting])

    async def open(self) -> int:
        """Return how many windows have open shots."""
        count: int = await self._windows.count_documents({"deadline": {"$gte": FIRST_SET}})
        return count

    async def unsent(self, before_ms: int, besides: int = 0) -> list[str]:
        """Return the ids of windows that have had an unpublished message since before a time (epoch ms).

        At most AT_ONCE plus `besides` are returned.
        """
        return await self._ids({"outbox_since": {"$gte": FIRST_SET, "$lt": before_ms}}, besides)

    async def _ids(self, query: Filter, besides: int) -> list[str]:
        """Return up to AT_ONCE plus `besides` ids.

        `besides` is the number of windows that are known to fail, so these can never hide all the others.
        """
        found = self._windows.find(query, {"_id": 1}).limit(AT_ONCE + besides)
        return [document["_id"] async for document in found]


def _closed(document: Document) -> ClosedWindow:
    revision, period = np.frombuffer(document["revision"], "<i4"), duration_ms(document["interval"])
    closed = {document["start"] + period * int(n): int(revision[n]) for n in np.flatnonzero(revision)}
    return ClosedWindow(document["_id"], closed, document["outbox_since"], tuple(document["files"]))


def to_document(window: Window) -> Document:
    """Return the window as a document, with columns as little-endian bytes. The repository adds its times."""
    sources = [source for columns in window.devices.values() for source in columns.sources]
    return {
        "_id": window.id,
        "place": str(window.place),
        "interval": window.interval.name,
        "start": window.start,
        "version": window.version,
        "again": window.again,
        "files": sorted({source.block.object_key for source in sources}),
        "revision": pack(window.revision, "<i4"),
        "devices": [_device_document(device, columns) for device, columns in sorted(window.devices.items())],
        "outbox": {id_: batch.model_dump_json().encode() for id_, batch in window.outbox.items()},
        "traceparent": window.traceparent,
    }


def from_document(document: Document, interval_of: Callable[[str], Interval]) -> Window:
    """Return the stored window.

    Raises:
        Bug: the document is not a valid window.
    """
    try:
        return _window(document, interval_of(document["interval"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Bug(f"window {document.get('_id')} cannot be read: {error!r}") from error


def _window(document: Document, interval: Interval) -> Window:
    pulses = pulses_per_window(interval)
    return Window(
        Place.parse(document["place"]),
        interval,
        document["start"],
        {device["device"]: _columns(device, pulses) for device in document["devices"]},
        _counts(document["revision"], pulses),
        document["version"],
        document["again"],
        {id_: ShotBatch.model_validate_json(batch) for id_, batch in document["outbox"].items()},
        document["traceparent"],
    )


def _device_document(device: str, columns: DeviceColumns) -> Document:
    return {
        "device": device,
        "kind": columns.kind,
        "source": pack(columns.source, "<i2"),
        "row": pack(columns.row, "<i4"),
        "verdict": pack(columns.verdict, "<i4"),
        "on": pack(columns.on, "<u1"),
        "sources": [_source_document(source) for source in columns.sources],
        "reasons": list(columns.reasons),
    }


def _columns(document: Document, pulses: int) -> DeviceColumns:
    return DeviceColumns(
        DeviceKind(document["kind"]),
        _counts(document["source"], pulses),
        _counts(document["row"], pulses),
        _counts(document["verdict"], pulses),
        _counts(document["on"], pulses).astype(bool),
        tuple(_source(source) for source in document["sources"]),
        tuple(document["reasons"]),
    )


def _source_document(source: RecordSource) -> Document:
    block = source.block
    return {
        "bucket": block.bucket,
        "block": block.key,
        "object_id": block.object_id,
        "object_key": block.object_key,
        "crc32": block.crc32,
        "arrived_at": source.arrived_at,
        "traceparent": source.traceparent,
        "displaced": source.displaced,
    }


def _source(stored: Document) -> RecordSource:
    block = BlockRef(
        bucket=stored["bucket"],
        key=stored["block"],
        object_id=stored["object_id"],
        object_key=stored["object_key"],
        crc32=stored.get("crc32"),
    )
    return RecordSource(block, stored["arrived_at"], stored["traceparent"], stored["displaced"])


def _counts(data: bytes, pulses: int) -> NDArray[np.int32]:
    return checked_cast(unpack_integers(data, pulses), "<i4")


def _series(document: Document) -> ShotSeries:
    return ShotSeries(place=Place.parse(document["place"]), interval=document["interval"])
