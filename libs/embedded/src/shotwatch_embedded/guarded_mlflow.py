"""MLflow's web application behind two logins (HTTP Basic).

    uvicorn --factory shotwatch_embedded.guarded_mlflow:application

`engineer` may do everything. `reader` may do what services need: ask for aliases and versions of models, and
download their files. Without a login only /health is answered. docs/adr/0021 says why MLflow's own
`basic-auth` application is not used.

This file imports nothing of ours: Compose mounts it into MLflow's image.
"""

import os
import re
from base64 import b64encode
from hmac import compare_digest
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ENGINEER, READER = "engineer", "reader"
ENGINEER_PASSWORD, READER_PASSWORD = "MODELS_ENGINEER_PASSWORD", "MODELS_READER_PASSWORD"
"""Environment variables; with `_FILE` behind the name, the path of a file that holds the password."""

_PUBLIC = "/health"
_READABLE = re.compile(
    r"/api/2\.0/(mlflow/(registered-models|model-versions)/(get|search)|mlflow-artifacts/artifacts/.+)"
)
"""What a service asks for, always with GET (`shotwatch_common.registry`)."""


class Guard:
    """An ASGI application that only those may use who log in, and a reader only to read."""

    def __init__(self, application: ASGIApp, engineer_password: str, reader_password: str) -> None:
        self._application = application
        self._engineer = _authorization(ENGINEER, engineer_password)
        self._reader = _authorization(READER, reader_password)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # MLflow has none
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._application)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        """Return the answer to a request that is not allowed; None when it is."""
        given = Headers(scope=scope).get("authorization", "").encode()
        if scope["path"] == _PUBLIC or compare_digest(given, self._engineer):
            return None
        if not compare_digest(given, self._reader):
            challenge = {"WWW-Authenticate": 'Basic realm="models", charset="UTF-8"'}
            return PlainTextResponse("log in\n", HTTPStatus.UNAUTHORIZED, challenge)
        if scope["method"] == "GET" and _READABLE.fullmatch(scope["path"]):
            return None
        return PlainTextResponse(f"{READER} may not do this\n", HTTPStatus.FORBIDDEN)


def application() -> Guard:
    """Return MLflow behind the passwords that the environment has.

    Raises:
        ValueError: a password is missing.
    """
    from mlflow.server.fastapi_app import app  # seconds, and it reads the environment

    return Guard(app, _secret(ENGINEER_PASSWORD), _secret(READER_PASSWORD))


def _authorization(user: str, password: str) -> bytes:
    """Return the header of a login (RFC 7617)."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())


def _secret(name: str) -> str:
    file = os.environ.get(f"{name}_FILE")
    secret = Path(file).read_text().strip() if file else os.environ.get(name, "")
    if not secret:
        raise ValueError(f"{name}, or {name}_FILE, is not set")
    return secret
