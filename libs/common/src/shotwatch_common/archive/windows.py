"""Windows of the join: one document per place, interval and minute, changed by compare-and-set."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from pymongo.errors import OperationFailure

from shotwatch_common.archive.driver import TRANSIENT, Database, Document, Filter
from shotwatch_common.archive.earliest import earliest
from shotwatch_common.archive.readable import all_readable, id_of, number, readable, texts
from shotwatch_common.archive.secantus_gaps import FIRST_SET, among
from shotwatch_common.archive.unused_sources import UnusedSources
from shotwatch_common.archive.versioned import save_version
from shotwatch_common.archive.window_documents import (
    decoded_closed,
    decoded_rows,
    decoded_series,
    from_document,
    to_document,
)
from shotwatch_common.clock import epoch_now
from shotwatch_shots.errors import Bug
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.reconciliation.sides import ClosedWindow, JoinedRows
from shotwatch_shots.window import Window

_NAME = "windows"
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
        self._windows = database[_NAME]
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

    async def remove_from_outbox(self, window_id: str, batch_id: str) -> None:
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
        return await all_readable(found, lambda each: (decoded_series(each), number(each["start"])), _NAME)

    async def between(self, start_ms: int, end_ms: int) -> list[KnownWindow]:
        """Return the windows with start <= first pulse < end (epoch ms), sorted by time."""
        found = self._windows.find({"start": {"$gte": start_ms, "$lt": end_ms}}, {"start": 1, "files": 1})
        known = await all_readable(found, _known, _NAME)
        return sorted(known, key=lambda window: (window.start, window.id))

    async def rows(self, object_keys: Sequence[str]) -> AsyncIterator[JoinedRows]:
        """Yield what each window holds of the files with these keys, and what windows had no room for."""
        held: set[str] = set()
        fields = ("device", "source", "verdict", "sources.object_id", "sources.displaced")
        wanted = dict.fromkeys((f"devices.{field}" for field in fields), 1)
        found = among(self._windows, "files", object_keys, wanted)
        async for joined in readable(found, decoded_rows, _NAME):
            for id_, rows in joined:
                held.add(id_)
                yield rows
        async for unused in self._unused.rows(object_keys, held):
            yield unused

    async def closed(self, start_ms: int, end_ms: int) -> list[ClosedWindow]:
        """Return the windows with start <= first pulse < end (epoch ms), with their closed pulses."""
        fields = ("place", "interval", "start", "revision", "outbox_since", "files")
        of_sources = ("devices.sources.object_key", "devices.sources.object_id")
        wanted = dict.fromkeys((*fields, *of_sources), 1)
        found = self._windows.find({"start": {"$gte": start_ms, "$lt": end_ms}}, wanted)
        return await all_readable(found, decoded_closed, _NAME)

    async def known(self, window_ids: Sequence[str]) -> set[str]:
        """Return those of these windows that exist."""
        return set(await all_readable(among(self._windows, "_id", window_ids, {"_id": 1}), id_of, _NAME))

    async def first_start(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first window starts in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._windows, _NAME, "start", start_ms, end_ms)

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
        return await all_readable(found, id_of, _NAME)


def _known(document: Document) -> KnownWindow:
    return KnownWindow(id_of(document), number(document["start"]), texts(document["files"]))
