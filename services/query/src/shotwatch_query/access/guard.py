"""The check before every route: who is the caller, and may they make this request?"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope as ASGIScope

from shotwatch_query.access import ANYBODY, Caller
from shotwatch_query.errors import Forbidden, NotAdmitted, Unavailable
from shotwatch_query.limits.rates import network_of
from shotwatch_query.settings import is_loopback
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.vocabulary import Scope

COOKIE = "shotwatch_key"
SAFE_METHODS = frozenset({"GET", "HEAD"})
CHANGE_TOKENS = 20
"""Cost of a change, in tokens: it writes to the database. The default rate allows 10 per second."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _KeyCookie(APIKeyCookie):
    async def __call__(self, request: HTTPConnection) -> str | None:
        return request.cookies.get(cookie_name(request))


def cookie_name(request: HTTPConnection) -> str:
    """Return the name of the cookie that holds the key.

    A browser shares the cookies of a host among all its ports. The name therefore contains the port, so that
    a user can be logged in to two stacks on one machine.
    """
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{port}_{COOKIE}" if port.isdecimal() else COOKIE


_bearer = HTTPBearer(
    scheme_name="bearer",
    description="An API key (`shotwatch keys create`), or a token of the OpenID Connect issuer.",
    auto_error=False,
)
_cookie = _KeyCookie(
    name=COOKIE, scheme_name="cookie", description="Set by the form at `/login`.", auto_error=False
)
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
_Cookie = Annotated[str | None, Security(_cookie)]


async def _caller(request: Request, sources: From, bearer: _Bearer, cookie: _Cookie) -> Caller:
    """Return the caller, and record the name for the audit.

    Raises:
        NotAdmitted: the caller is not known.
        TooMany: the caller exceeds the rate limit; unknown callers are limited by address.
    """
    with limited_unknown_callers(request, sources):
        caller = await _admitted(request, sources, bearer, cookie)
    request.state.caller = caller.name
    count_for_caller(request, sources, caller, 1 if request.method in SAFE_METHODS else CHANGE_TOKENS)
    return caller


async def _admitted(
    request: Request, sources: ApiSources, bearer: HTTPAuthorizationCredentials | None, cookie: str | None
) -> Caller:
    by_browser = bool(cookie) or "origin" in request.headers
    if bearer is None and by_browser and request.method not in SAFE_METHODS:
        require_same_origin(request)
    caller = await sources.access.caller(bearer.credentials if bearer else cookie)
    if caller is ANYBODY:
        require_own_name(request)
    return caller


def count_for_caller(request: Request, sources: ApiSources, caller: Caller, tokens: int = 1) -> None:
    """Count the request of a known caller.

    Raises:
        TooMany: the caller exceeds the rate limit.
    """
    request.state.counted = True
    sources.limits.callers.take(caller.name, tokens)


@contextmanager
def limited_unknown_callers(request: Request, sources: ApiSources) -> Iterator[None]:
    """Count the request for its address if the block does not identify a known caller.

    Credentials are checked first, so that a caller with valid ones is admitted however many requests of
    unknown callers come from the same address.

    Raises:
        TooMany: unknown callers at this address exceed the rate limit.
    """
    try:
        yield
    except (NotAdmitted, Unavailable):
        request.state.counted = True
        sources.limits.strangers.take(network_of(address_of(request.scope)))
        raise


async def limit(request: Request, sources: From, bearer: _Bearer, cookie: _Cookie) -> None:
    """Count a request to a route that is open to all; such routes depend on this.

    Raises:
        TooMany: a known caller, or unknown callers at this address, exceed the rate limit.
    """
    with suppress(NotAdmitted, Unavailable):
        await _caller(request, sources, bearer, cookie)


async def count_failed(request: Request) -> None:
    """Count a request that failed before it was counted: without a route, or with an invalid body.

    Raises:
        TooMany: as `limit` does.
    """
    if not hasattr(request.state, "counted"):
        await limit(request, request.app.state.sources, await _bearer(request), await _cookie(request))


def address_of(scope: ASGIScope) -> str:
    """Return the address of the client, as reported by a trusted proxy; empty if there is none."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""


def shows_credential(scope: ASGIScope) -> bool:
    """Return whether a request presents a key or token, valid or not."""
    headers = Headers(scope=scope)
    return "authorization" in headers or f"{COOKIE}=" in headers.get("cookie", "")


def has_scope(scope: ASGIScope) -> bool:
    """Return whether the caller was found to have the scope of the requested route."""
    return bool(scope["state"].get("has_scope"))


Known = Annotated[Caller, Depends(_caller)]
"""The parameter through which a route receives its caller."""


def requires(scope: Scope) -> Dependency:
    """Return the dependency of routes that require a scope."""

    async def check(request: Request, caller: Known) -> None:
        _require_scope(caller, scope)
        request.state.has_scope = True

    return Dependency(check)


async def require_still_admitted(request: Request, sources: ApiSources, scope: Scope) -> None:
    """Check the key or token of a long response again; this counts for no rate limit.

    Raises:
        NotAdmitted: it is not valid any more.
        Forbidden: it lacks the scope now.
        Unavailable: the issuer does not answer.
    """
    _require_scope(await _admitted(request, sources, await _bearer(request), await _cookie(request)), scope)


def _require_scope(caller: Caller, scope: Scope) -> None:
    if scope not in caller.scopes:
        raise Forbidden(f"{caller.name} lacks the scope `{scope}`", scope)


def require_own_name(request: Request) -> None:
    """Refuse requests to an open API under any name but that of this machine.

    This protects against pages of other sites whose host name resolves to this machine (DNS rebinding).

    Raises:
        NotAdmitted: it was called by another name than a loopback one.
    """
    if not is_loopback(request.url.hostname or ""):
        raise NotAdmitted("an API without keys answers only at localhost and loopback addresses", shown=True)


def require_same_origin(request: Request) -> None:
    """Refuse requests that a page of another site made with the browser's cookie.

    A browser sends its cookie whichever page makes the request. Scheme, host and port are compared. The
    scheme is `https` if this process terminates TLS, or if a trusted proxy reports that it does.

    Raises:
        NotAdmitted: the request was not made by a page of this API.
    """
    origin, own = request.headers.get("origin", ""), f"{request.url.scheme}://{request.headers.get('host')}"
    if not _same_origin(origin, own):
        raise NotAdmitted(
            f"the cookie is accepted from pages of {own} only; other clients send `Authorization`. "
            "If a proxy terminates TLS, list it in SHOTWATCH_QUERY_PROXIES",
            shown=True,
        )


def _same_origin(origin: str, own: str) -> bool:
    try:
        return _parts_of(origin) == _parts_of(own)
    except ValueError:  # an invalid port, or a bracket that is not closed
        return False


def _parts_of(origin: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port.

    Raises:
        ValueError: it is not an origin.
    """
    parts = urlsplit(origin)
    if not parts.hostname or "@" in parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{origin} is not an origin")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
