"""A database server in memory: what the archive asks of its driver, answered from dicts.

SecantusDB's own functions match, change, project and sort the documents, without its server. Documents pass
through BSON on their way in, as on the wire. So what BSON cannot hold, or is too large, is refused here too.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError, DocumentTooLarge, DuplicateKeyError
from secantus.aggregate import apply_pipeline
from secantus.ordering import sort_docs
from secantus.projection import apply_projection
from secantus.query import matches
from secantus.update import apply_update

from .effects import Effects

Document = dict[str, Any]
Query = Mapping[str, Any]
Order = str | Sequence[tuple[str, int]]
Write = UpdateOne | ReplaceOne[Document] | DeleteOne
Result = TypeVar("Result")

_LARGEST_BYTES = 16 << 20
_DUPLICATE_KEY = 11000


@dataclass
class CursorInMemory:
    """The documents that a query finds when they are read."""

    find: Callable[[], Iterable[Document]]
    order: Mapping[str, int] = field(default_factory=dict)
    most: int = 0

    def sort(self, order: Order, direction: int = 1) -> "CursorInMemory":
        by = {order: direction} if isinstance(order, str) else dict(order)
        return CursorInMemory(self.find, by, self.most)

    def limit(self, most: int) -> "CursorInMemory":
        return CursorInMemory(self.find, self.order, most)

    async def __aiter__(self) -> AsyncIterator[RawBSONDocument]:
        for document in sort_docs(list(self.find()), self.order)[: self.most or None]:
            yield _answered(document)


@dataclass
class CollectionInMemory:
    """A collection; `documents` are by their ids."""

    name: str = ""
    effects: Effects = field(default_factory=Effects)
    documents: dict[Any, Document] = field(default_factory=dict)
    indexes: dict[str, Any] = field(default_factory=dict)

    def find(self, query: Query | None = None, wanted: Query | None = None) -> CursorInMemory:
        return CursorInMemory(
            lambda: [apply_projection(found, wanted) for found in self._matching(query or {})]
        )

    def aggregate(self, pipeline: Sequence[Query]) -> CursorInMemory:
        return CursorInMemory(lambda: apply_pipeline(list(self.documents.values()), list(pipeline)))

    async def find_one(self, query: Query, wanted: Query | None = None) -> RawBSONDocument | None:
        return next((_answered(apply_projection(found, wanted)) for found in self._matching(query)), None)

    async def count_documents(self, query: Query) -> int:
        return len(self._matching(query))

    async def index_information(self) -> dict[str, Any]:
        return self.indexes

    async def create_index(self, keys: Sequence[tuple[str, int]], **_options: Any) -> None:
        self.indexes["_".join(f"{name}_{order}" for name, order in keys)] = {"key": keys}

    async def insert_one(self, document: Document) -> None:
        self._write("insert_one", lambda: self._insert(document))

    async def insert_many(self, documents: Sequence[Document], *, ordered: bool) -> None:
        assert not ordered
        self._write("insert_many", lambda: self._insert_each(documents))

    async def update_one(self, query: Query, change: Query, upsert: bool = False) -> SimpleNamespace:
        what = f"update_one {self.name}.{_first_field(change)}"
        return self._perform(what, lambda: self._update(self._matching(query)[:1], query, change, upsert))

    async def update_many(self, query: Query, change: Query) -> SimpleNamespace:
        return self._write("update_many", lambda: self._update(self._matching(query), query, change, False))

    async def replace_one(self, query: Query, document: Document, upsert: bool = False) -> SimpleNamespace:
        return self._write(
            "replace_one", lambda: self._update(self._matching(query)[:1], query, document, upsert)
        )

    async def delete_one(self, query: Query) -> None:
        self._write("delete_one", lambda: self._delete(self._matching(query)[:1]))

    async def delete_many(self, query: Query) -> None:
        self._write("delete_many", lambda: self._delete(self._matching(query)))

    async def bulk_write(self, writes: Sequence[Write], *, ordered: bool) -> None:
        assert not ordered
        self._write("bulk_write", lambda: [self._apply(write) for write in writes])

    def _write(self, operation: str, act: Callable[[], Result]) -> Result:
        return self._perform(f"{operation} {self.name}", act)

    def _perform(self, what: str, act: Callable[[], Result]) -> Result:
        return self.effects.perform(what, act, lambda: AutoReconnect("connection closed"))

    def _matching(self, query: Query) -> list[Document]:
        """Compare strings first, which is cheap: `matches` is slow."""
        texts = [(name, value) for name, value in query.items() if type(value) is str]
        return [
            document
            for document in self.documents.values()
            if not _has_other_text(document, texts) and matches(document, query)
        ]

    def _insert(self, document: Document) -> None:
        document = _stored({"_id": bson.ObjectId(), **document})
        if document["_id"] in self.documents:
            raise DuplicateKeyError(f"{self.name}: {document['_id']} exists", _DUPLICATE_KEY)
        self.documents[document["_id"]] = document

    def _insert_each(self, documents: Sequence[Document]) -> None:
        errors = []
        for n, document in enumerate(documents):
            try:
                self._insert(document)
            except DuplicateKeyError as error:
                errors.append({"index": n, "code": error.code})
        if errors:
            raise BulkWriteError({"writeErrors": errors})

    def _update(
        self, found: Sequence[Document], query: Query, change: Query, upsert: bool
    ) -> SimpleNamespace:
        after = [_stored(apply_update(document, change)) for document in found]
        modified = sum(new != old for new, old in zip(after, found, strict=True))
        self.documents.update((document["_id"], document) for document in after)
        upserted = None
        if upsert and not found:
            first = {name: value for name, value in query.items() if not isinstance(value, Mapping)}
            new = apply_update(first, change, is_upsert=True)
            self._insert(new)
            upserted = new["_id"]
        return SimpleNamespace(matched_count=len(found), modified_count=modified, upserted_id=upserted)

    def _delete(self, found: Sequence[Document]) -> None:
        for document in found:
            del self.documents[document["_id"]]

    def _apply(self, write: Write) -> None:
        found = self._matching(write._filter)[:1]
        match write:
            case DeleteOne():
                self._delete(found)
            case _:
                self._update(found, write._filter, write._doc, bool(write._upsert))


def _has_other_text(document: Document, texts: Sequence[tuple[str, str]]) -> bool:
    """Return whether a field that must equal a text holds another one."""
    return any(type(found := document.get(name)) is str and found != text for name, text in texts)


class DatabaseInMemory(defaultdict[str, CollectionInMemory]):
    """Collections by their names."""

    def __init__(self, effects: Effects | None = None) -> None:
        super().__init__()
        self._effects = effects or Effects()

    def __missing__(self, name: str) -> CollectionInMemory:
        self[name] = CollectionInMemory(name, self._effects)
        return self[name]


class DatabaseClient(defaultdict[str, DatabaseInMemory]):
    """A driver's client: databases by their names. `Archive` takes it in place of the real one."""

    def __init__(self, effects: Effects | None = None) -> None:
        super().__init__(lambda: DatabaseInMemory(effects))
        self.admin = self

    async def command(self, _name: str) -> None:
        return None

    def close(self) -> None: ...


def _first_field(change: Query) -> str:
    """Return the first field that an update changes, to distinguish the updates of a collection."""
    fields: Mapping[str, Any] = next(iter(change.values()))
    return next(name for name in fields if name != "_id").partition(".")[0]


def _answered(document: Document) -> RawBSONDocument:
    """Return the document as the driver returns it to the archive."""
    return RawBSONDocument(bson.encode(document))


def _stored(document: Document) -> Document:
    """Return the document as it is after it was stored and read.

    Raises:
        DocumentTooLarge: as the driver does.
    """
    encoded = bson.encode(document)
    if len(encoded) > _LARGEST_BYTES:
        raise DocumentTooLarge(f"{len(encoded)} bytes")
    return bson.decode(encoded)
