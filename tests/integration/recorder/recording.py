"""Records what this process asks of the database and the object store; see the package beside this file.

The rights that a command takes are those that MongoDB's manual ("Privilege Actions") and S3's ("Actions,
resources, and condition keys") name for it.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import miniopy_async.api
from pymongo import monitoring

from shotwatch_common.store import NO_OBJECT

_FREE = {"ping", "hello", "ismaster", "endSessions", "getMore", "killCursors", "buildInfo"}
"""Commands that every account may send; cursors are those of the account itself."""
_ACTIONS = {
    "find": "find",
    "aggregate": "find",
    "count": "find",
    "distinct": "find",
    "insert": "insert",
    "update": "update",
    "delete": "remove",
    "createIndexes": "createIndex",
    "listIndexes": "listIndexes",
}
_OBJECT_ACTIONS = {"GET": "read", "HEAD": "read", "PUT": "write", "DELETE": "remove"}

_file = Path(os.environ["RECORD_TO"], f"{os.environ['RECORD_AS']}.{os.getpid()}")
_known: set[tuple[str, str, str]] = set()


def _record(server: str, where: str, action: str) -> None:
    if (server, where, action) not in _known:
        _known.add((server, where, action))
        with _file.open("a") as file:
            file.write(f"{server}\t{where}\t{action}\n")


class _Commands(monitoring.CommandListener):
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        for action in _actions(event.command_name, event.command):
            _record("database", str(event.command[event.command_name]), action)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def _actions(name: str, command: Mapping[str, Any]) -> Iterator[str]:
    if name in _FREE or name.startswith("sasl"):
        return
    yield _ACTIONS.get(name, f"command {name}")
    if any(update.get("upsert") for update in command.get("updates", ())):
        yield "insert"


_execute = miniopy_async.api.Minio._execute


async def _recorded(
    self: Any, method: str, bucket_name: str | None = None, object_name: str | None = None, **more: Any
) -> Any:
    _record_request(method, bucket_name, object_name, more.get("headers") or {})
    return await _execute(self, method, bucket_name, object_name, **more)


def _record_request(method: str, bucket: str | None, key: str | None, headers: Mapping[str, Any]) -> None:
    if key == NO_OBJECT:  # asked for to see whether the server answers; that it refuses is an answer, too
        return
    if not key:
        _record("store", str(bucket), "list" if method in ("GET", "HEAD") else f"request {method}")
        return
    _record("store", _place(f"{bucket}/{key}"), _OBJECT_ACTIONS.get(method, f"request {method}"))
    if source := headers.get("x-amz-copy-source"):
        _record("store", _place(str(source).lstrip("/")), "read")


def _place(path: str) -> str:
    bucket, _, key = path.partition("/")
    folder, _, below = key.partition("/")
    return f"{bucket}/{folder}/" if below and not folder[:1].isdigit() else bucket


monitoring.register(_Commands())
miniopy_async.api.Minio._execute = _recorded
