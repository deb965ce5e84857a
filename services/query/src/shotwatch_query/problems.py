"""Errors as problem documents (RFC 9457)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from math import ceil

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shotwatch_common import metrics
from shotwatch_common.archive import TRANSIENT
from shotwatch_common.printable import printable
from shotwatch_common.store import ObjectGone
from shotwatch_query.errors import (
    BadExpression,
    BadRequest,
    Forbidden,
    Full,
    NotAdmitted,
    NotFound,
    NotInstalled,
    TooMany,
    Unavailable,
)
from shotwatch_query.schema import SHOT_ID, Schema
from shotwatch_shots.errors import Retry

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
MOST_MISTAKES = 20
MOST_CHARACTERS = 1000
"""Maximum length of a text in a problem document: a request may contain a name of 30 kB, or many names."""
AWAY = (Unavailable, Retry, *TRANSIENT)
"""Exceptions raised when a server behind this one is unavailable."""


class Mistake(Schema):
    """One error in a request."""

    where: str
    what: str


class ProblemDetails(Schema):
    """The description of an error (RFC 9457)."""

    type: str = Field(
        "about:blank", description="Kind of problem; `about:blank` means that the title is complete."
    )
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=[f"there is no shot {SHOT_ID}"])
    instance: str = Field(description="Path of the request.")
    excerpt: list[str] = Field(
        default=[], description="The line of an invalid expression, and below it `^` at the place."
    )
    mistakes: list[Mistake] = Field(default=[], description="Each value of the request that is not valid.")


def problem(
    request: Request,
    status: int,
    detail: str,
    mistakes: Sequence[Mistake] = (),
    headers: Mapping[str, str] | None = None,
    excerpt: Sequence[str] = (),
) -> Response:
    metrics.API_PROBLEMS.labels(status).inc()
    document = ProblemDetails(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_short(detail),
        instance=_short(request.url.path),
        excerpt=list(map(_short, excerpt)),
        mistakes=[
            Mistake(where=_short(each.where), what=_short(each.what)) for each in mistakes[:MOST_MISTAKES]
        ],
    )
    return Response(document.model_dump_json(), status, headers, MEDIA_TYPE)


def _short(text: str) -> str:
    """Return the text on one line, shortened; a lone surrogate, which is not valid in JSON, is escaped."""
    shown = printable(text[: MOST_CHARACTERS + 1])
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[:MOST_CHARACTERS]} …"


Explain = Callable[[Request, Exception], Awaitable[Response]]


def explain_errors(app: FastAPI, count: Callable[[Request], Awaitable[None]]) -> None:
    """Respond to every error of the routes with a problem document.

    Args:
        app: the app.
        count: counts the request if it was not counted yet, or raises TooMany.
    """

    def counted(explain: Explain) -> Explain:
        async def explain_counted(request: Request, error: Exception) -> Response:
            try:
                await count(request)
            except TooMany as refused:
                return await too_many(request, refused)
            return await explain(request, error)

        return explain_counted

    async def not_found(request: Request, error: Exception) -> Response:
        return problem(request, 404, str(error))

    async def bad_request(request: Request, error: Exception) -> Response:
        excerpt = error.excerpt if isinstance(error, BadExpression) else ()
        return problem(request, 422, str(error), excerpt=excerpt)

    async def full(request: Request, error: Exception) -> Response:
        return problem(request, 409, str(error))

    async def not_installed(request: Request, error: Exception) -> Response:
        return problem(request, 501, str(error))

    async def away(request: Request, error: Exception) -> Response:
        return problem(request, 503, str(error), headers={"Retry-After": "5"})

    async def not_admitted(request: Request, error: Exception) -> Response:
        assert isinstance(error, NotAdmitted)
        asked = 'Bearer realm="shotwatch"' + (', error="invalid_token"' if error.shown else "")
        return problem(request, 401, str(error), headers={"WWW-Authenticate": asked})

    async def forbidden(request: Request, error: Exception) -> Response:
        assert isinstance(error, Forbidden)
        asked = f'Bearer realm="shotwatch", error="insufficient_scope", scope="{error.scope}"'
        return problem(request, 403, str(error), headers={"WWW-Authenticate": asked})

    async def too_many(request: Request, error: Exception) -> Response:
        assert isinstance(error, TooMany)
        return problem(request, 429, str(error), headers={"Retry-After": str(max(1, ceil(error.wait_s)))})

    async def broken(request: Request, _error: Exception) -> Response:
        return problem(request, 500, "a fault of this service; its log has the details")

    for missing in (NotFound, ObjectGone):
        app.add_exception_handler(missing, counted(not_found))
    for server_away in AWAY:
        app.add_exception_handler(server_away, away)
    app.add_exception_handler(BadRequest, bad_request)
    app.add_exception_handler(Full, full)
    app.add_exception_handler(NotInstalled, not_installed)
    app.add_exception_handler(TooMany, too_many)
    app.add_exception_handler(NotAdmitted, not_admitted)
    app.add_exception_handler(Forbidden, forbidden)
    app.add_exception_handler(RequestValidationError, counted(_invalid))
    app.add_exception_handler(HTTPException, counted(_http))
    app.add_exception_handler(Exception, broken)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = [Mistake(where=".".join(map(str, e["loc"])), what=e["msg"]) for e in error.errors()]
    return problem(request, 422, "the request has a value that is not valid", mistakes)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(request, error.status_code, str(error.detail), headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods of a path; Starlette itself names only those of the path's first route."""
    routes = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return ", ".join(
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in routes)
    )
