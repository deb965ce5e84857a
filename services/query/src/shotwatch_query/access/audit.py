"""A line for each change that somebody asked the API for: who, what, which, when, and how it ended."""

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shotwatch_common.archive import TRANSIENT
from shotwatch_common.archive.audit import AuditLine
from shotwatch_common.pulses import epoch_now
from shotwatch_common.telemetry import current_trace_id
from shotwatch_common.vocabulary import Outcome
from shotwatch_query.access.guard import SAFE_METHODS
from shotwatch_query.sources import Sources

_REFUSED = (401, 403)


class Audited:
    """Tells of a request that wants a change, before its answer goes out.

    Each is logged. Those of known callers are stored, too: what strangers try must not fill the database.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._concerns(scope):
            return await self._app(scope, receive, send)
        scope.setdefault("state", {})
        told = False

        async def tell(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                told = True
                await _write_down(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if not told:
                await _write_down(scope, 500)

    def _concerns(self, scope: Scope) -> bool:
        return (
            scope["type"] == "http"
            and scope["method"] not in SAFE_METHODS
            and scope["path"].startswith(self._prefix)
        )


async def _write_down(scope: Scope, status: int) -> None:
    caller: str | None = scope["state"].get("caller")
    line = _line(scope, status, caller or "stranger")
    log = structlog.get_logger()
    log.info("audit", who=line.who, what=line.what, which=line.which, outcome=line.outcome, status=status)
    if caller is None:
        return
    app: FastAPI = scope["app"]
    sources: Sources = app.state.sources
    try:
        await sources.archive.audit.add(line)
    except TRANSIENT as error:
        log.warning("audit not stored", why=str(error))


def _line(scope: Scope, status: int, who: str) -> AuditLine:
    return AuditLine(
        at=epoch_now(),
        who=who,
        what=str(getattr(scope.get("route"), "name", scope["method"])),
        which=scope["path"],
        outcome=_outcome(status),
        status=status,
        trace_id=current_trace_id(),
    )


def _outcome(status: int) -> Outcome:
    if status in _REFUSED:
        return Outcome.REFUSED
    return Outcome.DONE if status < 400 else Outcome.FAILED
