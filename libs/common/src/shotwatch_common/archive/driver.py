"""The driver's database, with errors translated: a server that cannot do its work raises Retry.

The driver has error classes for a server that cannot be reached, but none for a server whose disk is full.
Only the error's code shows that.

The driver returns documents as bytes (RawBSONDocument), which are decoded here one by one. By itself it
decodes a whole answer. So one document that Python has no values for, such as a date of the year 300,000,
would hide all others from every reader.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from motor.core import AgnosticCursor
from motor.motor_asyncio import AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    WTimeoutError,
)
from pymongo.results import UpdateResult

from shotwatch_shots.errors import Bug, Retry

TRANSIENT = (AutoReconnect, ConnectionFailure, NetworkTimeout, ExecutionTimeout, WTimeoutError)
"""Errors after which the same call may succeed."""

_INTERNAL_ERROR = 1
_OUT_OF_DISK_SPACE = 14031
_ITS_OWN = {_INTERNAL_ERROR, _OUT_OF_DISK_SPACE}
_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = 18
_REFUSED = {_UNAUTHORIZED, _AUTHENTICATION_FAILED}

Document = dict[str, Any]
"""A document as the database stores it. Only the modules of this package know its fields."""
_EXACT = CodecOptions[Document](tz_aware=True)
_TOLERANT = CodecOptions[Document](
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="backslashreplace"
)
Filter = Mapping[str, object]
"""A query, a choice of fields, a change or a stage of a pipeline, in MongoDB's language."""
Keys = Sequence[tuple[str, int]]
"""Fields in their order, each ascending (1) or descending (-1)."""
Write = UpdateOne | ReplaceOne[Document] | DeleteOne
"""One write of several that are sent together."""


class Undecodable(Document):
    """A document that Python has no values for: its id is all that it shows, if even that can be read."""

    def __init__(self, content: bytes, error: BSONError) -> None:
        self.error = error
        try:
            super().__init__(_id=bson.decode(content, _TOLERANT).get("_id"))
        except BSONError:
            super().__init__()


class Database:
    """A database of the driver, which returns documents as bytes.

    Its collections raise Retry if the server cannot do its work or refuses our account, and Bug if a document
    is too large.
    """

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._database = database

    def __getitem__(self, name: str) -> "Collection":
        return Collection(self._database[name])


class Collection:
    """A collection of the driver, with those of its methods that the archive uses."""

    def __init__(self, collection: AsyncIOMotorCollection[Document]) -> None:
        self._collection = collection

    def find(self, query: Filter, fields: Filter | None = None) -> "DocumentCursor":
        return DocumentCursor(self._collection.find(query, fields))

    async def aggregate(self, stages: Sequence[Filter]) -> AsyncIterator[Document]:
        with translated():
            async for document in self._collection.aggregate(stages):
                yield _decoded(document)

    async def find_one(self, query: Filter, fields: Filter | None = None) -> Document | None:
        with translated():
            found = await self._collection.find_one(query, fields)
        return None if found is None else _decoded(found)

    async def count_documents(self, query: Filter) -> int:
        with translated():
            return await self._collection.count_documents(query)

    async def insert_one(self, document: Document) -> None:
        with translated():
            await self._collection.insert_one(document)

    async def insert_many(self, documents: Sequence[Document], *, ordered: bool) -> None:
        with translated():
            await self._collection.insert_many(documents, ordered=ordered)

    async def update_one(self, query: Filter, changes: Filter, *, upsert: bool = False) -> UpdateResult:
        with translated():
            return await self._collection.update_one(query, changes, upsert=upsert)

    async def update_many(self, query: Filter, changes: Filter) -> None:
        with translated():
            await self._collection.update_many(query, changes)

    async def replace_one(self, query: Filter, document: Document, *, upsert: bool) -> None:
        with translated():
            await self._collection.replace_one(query, document, upsert=upsert)

    async def bulk_write(self, writes: Sequence[Write], *, ordered: bool) -> None:
        with translated():
            await self._collection.bulk_write(writes, ordered=ordered)

    async def delete_one(self, query: Filter) -> None:
        with translated():
            await self._collection.delete_one(query)

    async def delete_many(self, query: Filter) -> None:
        with translated():
            await self._collection.delete_many(query)

    async def create_index(self, keys: Keys) -> None:
        with translated():
            await self._collection.create_index(keys)

    async def index_information(self) -> Mapping[str, Document]:
        with translated():
            return await self._collection.index_information()


class DocumentCursor:
    """A cursor of the driver: `async for` yields documents."""

    def __init__(self, cursor: AgnosticCursor[Document]) -> None:
        self._cursor = cursor

    def sort(self, order: str | Keys, direction: int | None = None) -> "DocumentCursor":
        return DocumentCursor(self._cursor.sort(order, direction))

    def limit(self, most: int) -> "DocumentCursor":
        return DocumentCursor(self._cursor.limit(most))

    async def __aiter__(self) -> AsyncIterator[Document]:
        with translated():
            async for document in self._cursor:
                yield _decoded(document)


def _decoded(answered: Filter) -> Document:
    assert isinstance(answered, RawBSONDocument)  # the document class of the client
    content = bytes(answered.raw)
    try:
        return bson.decode(content, _EXACT)
    except BSONError as error:
        return Undecodable(content, error)


def is_unknown_account(error: OperationFailure) -> bool:
    """Return whether the server does not know the account, or refuses its password."""
    return error.code == _AUTHENTICATION_FAILED


@contextmanager
def translated() -> Iterator[None]:
    """Raise Retry if the server cannot do its work or refuses our account, Bug for a document too large."""
    try:
        yield
    except DocumentTooLarge as error:
        raise Bug(f"too large for the database: {error}") from error
    except OperationFailure as error:
        codes = _codes_of(error)
        if codes & _ITS_OWN:
            raise Retry(f"the database cannot do its work, is its disk full? It reports: {error}") from error
        if codes & _REFUSED:
            raise Retry(f"the database refuses this account: {error}") from error
        raise


def _codes_of(error: OperationFailure) -> set[int]:
    """Return the codes of the error and of each failed write in it."""
    writes = (error.details or {}).get("writeErrors", ())
    return {error.code or 0, *(write["code"] for write in writes)}
