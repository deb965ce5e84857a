"""MLflow's web application behind two logins (HTTP Basic).

    uvicorn --factory shotwatch_embedded.guarded_mlflow:application

`engineer` may do everything, except use MLflow's assistant, which starts other programs, and its AI gateway,
which sends requests to the outside. `reader` may do what services need: request aliases and versions of
models, download their files, and tag a version with the number of its confirmed and false alarms. Without a
login only GET /health is answered. MLflow keeps the body of any request in memory, so it gets bodies only
from `engineer`, and small ones from `reader`. docs/adr/0021 explains why MLflow's own `basic-auth`
application is not used.

This file imports nothing from this project, because Compose mounts it into MLflow's image.
"""

import json
import os
import re
from base64 import b64encode
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENGINEER, READER = "engineer", "reader"
ENGINEER_PASSWORD, READER_PASSWORD = "MODELS_ENGINEER_PASSWORD", "MODELS_READER_PASSWORD"
"""Environment variables. With the suffix `_FILE`, the variable holds the path of a file with the password."""

_PUBLIC = "/health"
_READABLE = re.compile(
    r"/api/2\.0/(mlflow/(registered-models|model-versions)/(get|search)|mlflow-artifacts/artifacts/.+)"
)
"""Paths that services request, always with GET (`shotwatch_common.registry`)."""
_TAG = "/api/2.0/mlflow/model-versions/set-tag"
_REFUSED = frozenset({"assistant", "gateway"})
"""Parts of paths that nobody may request."""
_COUNTS = ("confirmed", "false")
"""Tags that a service sets; each is a number."""
_NUMBER = re.compile(r"[0-9]{1,12}")
_LONGEST_TAG = 4096
"""Largest size of such a request in bytes."""


class Guard:
    """An ASGI application that requires a login and gives `reader` only read access."""

    def __init__(self, application: ASGIApp, engineer_password: str, reader_password: str) -> None:
        self._application = application
        self._engineer = _authorization(ENGINEER, engineer_password)
        self._reader = _authorization(READER, reader_password)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # MLflow has none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        if scope["path"] == _PUBLIC and scope["method"] in ("GET", "HEAD"):
            await PlainTextResponse("OK")(scope, receive, send)
            return
        given = Headers(scope=scope).get("authorization", "").encode()
        if compare_digest(given, self._engineer):
            await self._changing(scope, receive, send)
        elif compare_digest(given, self._reader):
            await self._read_only(scope, receive, send)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="models", charset="UTF-8"'}
            await PlainTextResponse("log in\n", HTTPStatus.UNAUTHORIZED, challenge)(scope, receive, send)

    async def _changing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of `engineer`."""
        if _REFUSED.isdisjoint(scope["path"].lower().split("/")):
            await self._application(scope, receive, send)
        else:
            await PlainTextResponse("nobody may do this\n", HTTPStatus.FORBIDDEN)(scope, receive, send)

    async def _read_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of `reader`."""
        asked = scope["method"], scope["path"]
        if asked[0] == "GET" and _READABLE.fullmatch(asked[1]):
            await self._application(scope, _again(b"", receive), send)
        elif asked == ("POST", _TAG) and _is_count(body := await _read(receive)):
            await self._application(scope, _again(body, receive), send)
        else:
            await PlainTextResponse(f"{READER} may not do this\n", HTTPStatus.FORBIDDEN)(scope, receive, send)


def application() -> Guard:
    """Return MLflow behind the passwords from the environment.

    Raises:
        ValueError: a password is missing.
    """
    from mlflow.server.fastapi_app import app  # the import takes seconds and reads the environment

    return Guard(app, _secret(ENGINEER_PASSWORD), _secret(READER_PASSWORD))


async def _read(receive: Receive) -> bytes:
    """Read the body of a request, but not much more than _LONGEST_TAG of it."""
    body, more = b"", True
    while more and len(body) <= _LONGEST_TAG:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that passes on this body, then the disconnection; it discards what else comes."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        if messages:
            return messages.pop()
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return received


def _is_count(body: bytes) -> bool:
    """Return whether a request to set a tag sets one of _COUNTS to a number."""
    try:
        tag = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if len(body) > _LONGEST_TAG or not isinstance(tag, dict):
        return False
    value = tag.get("value")
    return tag.get("key") in _COUNTS and isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def _authorization(user: str, password: str) -> bytes:
    """Return the Authorization header of a login (RFC 7617)."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def _secret(name: str) -> str:
    file = os.environ.get(f"{name}_FILE")
    secret = Path(file).read_text().strip() if file else os.environ.get(name, "")
    if not secret:
        raise ValueError(f"{name}, or {name}_FILE, is not set")
    return secret
