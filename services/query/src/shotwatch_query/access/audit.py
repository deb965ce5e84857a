"""The audit of requested changes: a line with caller, operation, path, time and outcome of each."""

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shotwatch_common.archive.audit import AuditLine
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_trace_id
from shotwatch_query.access.guard import SAFE_METHODS, address_of, has_scope, shows_credential
from shotwatch_query.problems import AWAY
from shotwatch_query.sources import ApiSources
from shotwatch_shots.vocabulary import ChangeOutcome

_REFUSED = (401, 403, 429)
STRANGER = "stranger"
"""The name of an unknown caller in the audit."""


class Audited:
    """A middleware that records each request for a change before its response is sent.

    Requests of callers who have the scope of the route are stored and logged. Refused requests are counted
    if they are for a change or present a key or token. So are requests that failed before the scope was
    checked, for example because there is no such route. They are not stored one by one, because requests
    that anybody can make must fill neither database nor log.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        noted = False

        async def note(message: Message) -> None:
            nonlocal noted
            if message["type"] == "http.response.start":
                noted = True
                await self._note(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            if not noted:
                await self._note(scope, 500)

    async def _note(self, scope: Scope, status: int) -> None:
        changes = scope["method"] not in SAFE_METHODS
        if status in _REFUSED:
            if changes or shows_credential(scope):
                await _count(scope, status)
        elif changes and "caller" in scope["state"] and scope["path"].startswith(self._prefix):
            if has_scope(scope):
                await _store(scope, status)
            else:
                await _count(scope, status)


async def _count(scope: Scope, status: int) -> None:
    await _sources(scope).refusals.note(_line(scope, status))


async def _store(scope: Scope, status: int) -> None:
    line = _line(scope, status)
    log = structlog.get_logger()
    log.info("audit", who=line.who, what=line.what, which=line.which, outcome=line.outcome, status=status)
    try:
        await _sources(scope).archive.audit.add(line)
    except AWAY as error:
        log.warning("audit not stored", why=str(error))


def _sources(scope: Scope) -> ApiSources:
    app: FastAPI = scope["app"]
    sources: ApiSources = app.state.sources
    return sources


def _line(scope: Scope, status: int) -> AuditLine:
    return AuditLine(
        at=epoch_now(),
        who=scope["state"].get("caller", STRANGER),
        what=str(getattr(scope.get("route"), "name", scope["method"])),
        which=scope["path"],
        outcome=_outcome(status),
        status=status,
        trace_id=current_trace_id(),
        address=address_of(scope),
    )


def _outcome(status: int) -> ChangeOutcome:
    if status in _REFUSED:
        return ChangeOutcome.REFUSED
    return ChangeOutcome.DONE if status < 400 else ChangeOutcome.FAILED
