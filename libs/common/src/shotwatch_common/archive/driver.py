"""The driver's database, with errors translated: a server that cannot do its work raises Retry.

The driver has error classes for a server that cannot be reached, but none for a server whose disk is full.
Only the error's code shows that.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    WTimeoutError,
)

from shotwatch_shots.errors import Bug, Retry

TRANSIENT = (AutoReconnect, ConnectionFailure, NetworkTimeout, ExecutionTimeout, WTimeoutError)
"""Errors after which the same call may succeed."""

_INTERNAL_ERROR = 1
_OUT_OF_DISK_SPACE = 14031
_ITS_OWN = {_INTERNAL_ERROR, _OUT_OF_DISK_SPACE}
_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = 18
_REFUSED = {_UNAUTHORIZED, _AUTHENTICATION_FAILED}
_CURSORS = {"find", "aggregate"}


class Database:
    """A database of the driver.

    Its collections raise Retry if the server cannot do its work or refuses our account, and Bug if a document
    is too large.
    """

    def __init__(self, database: Any) -> None:
        self._database = database

    def __getitem__(self, name: str) -> "Collection":
        return Collection(self._database[name])


class Collection:
    """A collection of the driver."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._collection, name)
        return _cursor_of(method) if name in _CURSORS else _translated(method)


class Cursor:
    """A cursor of the driver: `async for` yields documents."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def sort(self, *order: Any) -> "Cursor":
        return Cursor(self._cursor.sort(*order))

    def limit(self, most: int) -> "Cursor":
        return Cursor(self._cursor.limit(most))

    async def __aiter__(self) -> AsyncIterator[Any]:
        with transient():
            async for document in self._cursor:
                yield document


def is_unknown_account(error: OperationFailure) -> bool:
    """Return whether the server does not know the account, or refuses its password."""
    return error.code == _AUTHENTICATION_FAILED


def _cursor_of(method: Callable[..., Any]) -> Callable[..., Cursor]:
    return lambda *arguments, **named: Cursor(method(*arguments, **named))


def _translated(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def call(*arguments: Any, **named: Any) -> Any:
        try:
            with transient():
                return await method(*arguments, **named)
        except DocumentTooLarge as error:
            raise Bug(f"too large for the database: {error}") from error

    return call


@contextmanager
def transient() -> Iterator[None]:
    """Raise Retry if the server cannot do its work or refuses our account."""
    try:
        yield
    except OperationFailure as error:
        codes = _codes_of(error)
        if codes & _ITS_OWN:
            raise Retry(f"the database cannot do its work, is its disk full? It says: {error}") from error
        if codes & _REFUSED:
            raise Retry(f"the database refuses this account: {error}") from error
        raise


def _codes_of(error: OperationFailure) -> set[int]:
    """Return the codes of the error and of each failed write in it."""
    writes = (error.details or {}).get("writeErrors", ())
    return {error.code or 0, *(write["code"] for write in writes)}
