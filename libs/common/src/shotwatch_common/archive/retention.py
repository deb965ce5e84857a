"""The deletion of old windows, and how far it has come."""

from collections.abc import Sequence

from shotwatch_common.archive.driver import Database
from shotwatch_common.archive.readable import needed, number, readable_one, texts
from shotwatch_common.archive.unused_sources import UnusedSources
from shotwatch_common.archive.windows import NEVER

_SHOTS = "shots"


class Retention:
    """Collection `retention`: the document `shots` has the time `judged_at` up to which they are deleted.

    Its `horizon` is the time before which a file was ingested whose shots are deleted.
    If it is malformed, reading it raises Retry.
    Also deletes documents of the collections `windows` and `unused_sources`.
    """

    def __init__(self, database: Database) -> None:
        self._retention = database["retention"]
        self._windows = database["windows"]
        self._unused = UnusedSources(database)

    async def expired_until(self) -> int | None:
        """Return the time before which judged shots have been deleted (epoch ms); None if none have been.

        Shots that somebody may still need remain (ADR 38).
        """
        return await self._time("judged_at")

    async def horizon(self) -> int:
        """Return the time before which each file was ingested whose shots are deleted (epoch ms), or 0."""
        return await self._time("horizon") or 0

    async def begin(self, horizon: int) -> None:
        """Record that shots of files that were ingested before `horizon` (epoch ms) may be deleted."""
        await self._retention.update_one({"_id": _SHOTS}, {"$max": {"horizon": horizon}}, upsert=True)

    async def note_deleted(self, until: int) -> None:
        """Record that the shots that were judged before `until` (epoch ms) have been deleted."""
        await self._retention.update_one({"_id": _SHOTS}, {"$set": {"judged_at": until}}, upsert=True)

    async def files(self, window_id: str) -> list[str]:
        """Return the keys of the files that a window was joined from; none if it does not exist."""
        document = await self._windows.find_one({"_id": window_id}, {"files": 1})
        return list(readable_one(document, lambda found: texts(found["files"]), "windows") or ())

    async def delete_window(self, window_id: str) -> bool:
        """Delete a window, unless one of its shots is open or a message is unpublished.

        Return whether the window is gone.
        """
        await self._windows.delete_one({"_id": window_id, "deadline": NEVER, "outbox_since": NEVER})
        return await self._windows.find_one({"_id": window_id}, {"_id": 1}) is None

    async def delete_unused_sources(self, object_keys: Sequence[str]) -> None:
        """Delete what windows had no room for of the files with these keys."""
        await self._unused.forget(object_keys)

    async def _time(self, name: str) -> int | None:
        document = await self._retention.find_one({"_id": _SHOTS, name: {"$exists": True}}, {name: 1})
        return needed(document, lambda found: number(found[name]), "retention")
