"""What stands before every route: who asks, and may they?"""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from shotwatch_common.vocabulary import Scope
from shotwatch_query.access import ANYBODY, Caller
from shotwatch_query.errors import Forbidden, NotAdmitted
from shotwatch_query.settings import is_loopback
from shotwatch_query.sources import From

COOKIE = "shotwatch_key"
SAFE_METHODS = frozenset({"GET", "HEAD"})


class _KeyCookie(APIKeyCookie):
    async def __call__(self, request: HTTPConnection) -> str | None:
        return request.cookies.get(cookie_name(request))


def cookie_name(request: HTTPConnection) -> str:
    """Return the name of the cookie that holds the key.

    A browser shares the cookies of a host among its ports. The port is in the name, so that who opens two
    stacks on one machine is logged in to both.
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


async def _caller(
    request: Request,
    sources: From,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    cookie: Annotated[str | None, Security(_cookie)],
) -> Caller:
    """Who asks. The audit hears of it, too."""
    by_browser = bool(cookie) or "origin" in request.headers
    if bearer is None and by_browser and request.method not in SAFE_METHODS:
        require_same_origin(request)
    caller = await sources.access.caller(bearer.credentials if bearer else cookie)
    if caller is ANYBODY:
        require_own_name(request)
    request.state.caller = caller.name
    return caller


Known = Annotated[Caller, Depends(_caller)]
"""The parameter of a route by which it gets to know who asks."""


def requires(scope: Scope) -> Any:
    """The dependency of routes that ask for a scope."""

    async def check(caller: Known) -> None:
        if scope not in caller.scopes:
            raise Forbidden(f"{caller.name} lacks the scope `{scope}`", scope)

    return Depends(check)


def require_own_name(request: Request) -> None:
    """An open API is for this machine: not for pages of others whose name leads here.

    Raises:
        NotAdmitted: it was called by another name than a loopback one.
    """
    if not is_loopback(request.url.hostname or ""):
        raise NotAdmitted("an API without keys answers to localhost and loopback addresses alone", shown=True)


def require_same_origin(request: Request) -> None:
    """A browser sends its cookie whoever made it ask: pages of others must not.

    Raises:
        NotAdmitted: it was not a page of this API.
    """
    origin = request.headers.get("origin", "")
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAdmitted("the cookie counts for pages of this API alone; others send `Authorization`", True)
