"""The sources that windows had no room for, so that the ledger accounts for their records."""

from collections.abc import AsyncIterator, Container, Sequence

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.insertion import insert_new
from shotwatch_common.archive.readable import id_of, number, readable, text
from shotwatch_common.archive.secantus_gaps import among
from shotwatch_shots.reconciliation.sides import JoinedRows
from shotwatch_shots.window import UnusedSource, Window


class UnusedSources:
    """Collection `unused_sources`: `_id` is window, device and object id.

    A document is written before its window, and never changed. It is removed with the records of its file. If
    the window has the source nevertheless, because that write failed or because the file was joined again,
    the window counts.
    """

    def __init__(self, database: Database) -> None:
        self._sources = database["unused_sources"]

    async def ensure_indexes(self) -> None:
        await self._sources.create_index([("object_key", 1)])

    async def add(self, window: Window) -> None:
        """Store the unused sources of a window; those that are stored already stay as they are."""
        await insert_new(self._sources, [_document(window.id, source) for source in window.unused])

    async def forget(self, object_keys: Sequence[str]) -> None:
        """Delete the sources from files with these keys."""
        await self._sources.delete_many({"object_key": {"$in": list(object_keys)}})

    async def rows(self, object_keys: Sequence[str], held: Container[str]) -> AsyncIterator[JoinedRows]:
        """Yield the rows of the sources from files with these keys, except sources that windows hold."""
        found = among(self._sources, "object_key", object_keys)
        async for id_, rows in readable(found, _rows, "unused_sources"):
            if id_ not in held:
                yield rows


def source_id(window_id: str, device: str, object_id: str) -> str:
    """Return the id of a source of a window."""
    return f"{window_id} {device} {object_id}"


def _rows(document: Document) -> tuple[str, JoinedRows]:
    source = text(document["object_id"]), text(document["device"])
    return id_of(document), JoinedRows(*source, 0, 0, number(document["rows"]))


def _document(window_id: str, source: UnusedSource) -> Document:
    return {
        "_id": source_id(window_id, source.device, source.block.object_id),
        "object_id": source.block.object_id,
        "object_key": source.block.object_key,
        "device": source.device,
        "rows": source.rows,
    }
