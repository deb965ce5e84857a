"""The driver's database, where a server that fails for its own reasons is a Retry.

The driver has classes of errors for a server that is away, but none for one whose disk is full: that is told
by its code alone.
"""

from collections.abc import Awaitable, Callable
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

from shotwatch_common.errors import Bug, Retry

TRANSIENT = (AutoReconnect, ConnectionFailure, NetworkTimeout, ExecutionTimeout, WTimeoutError)
"""Errors after which the same call may succeed."""

_INTERNAL_ERROR = 1
_OUT_OF_DISK_SPACE = 14031
_ITS_OWN = {_INTERNAL_ERROR, _OUT_OF_DISK_SPACE}
_CURSORS = {"find", "aggregate"}


class Database:
    """A database of the driver.

    Its collections raise Retry when the server fails for its own reasons, and Bug for a document that is too
    large.
    """

    def __init__(self, database: Any) -> None:
        self._database = database

    def __getitem__(self, name: str) -> "Collection":
        return Collection(self._database[name])


class Collection:
    """A collection of the driver. Cursors are the driver's own: they read, and need no room."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._collection, name)
        return method if name in _CURSORS else _translated(method)


def _translated(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def call(*arguments: Any, **named: Any) -> Any:
        try:
            return await method(*arguments, **named)
        except DocumentTooLarge as error:
            raise Bug(f"too large for the database: {error}") from error
        except OperationFailure as error:
            if _codes_of(error) & _ITS_OWN:
                raise Retry(f"the database cannot do its work, is its disk full? It says: {error}") from error
            raise

    return call


def _codes_of(error: OperationFailure) -> set[int]:
    """The codes of the error and of each write in it that failed."""
    writes = (error.details or {}).get("writeErrors", ())
    return {error.code or 0, *(write["code"] for write in writes)}
