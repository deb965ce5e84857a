"""The login form for browsers, because neither a page nor an EventSource can send `Authorization`."""

from html import escape
from typing import Annotated
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from shotwatch_query.access.guard import (
    cookie_name,
    count_for_caller,
    limit,
    limited_unknown_callers,
    require_same_origin,
)
from shotwatch_query.errors import NotAdmitted
from shotwatch_query.headers import PAGE
from shotwatch_query.sources import From

router = APIRouter(include_in_schema=False)

Next = Annotated[str, Query(alias="next", max_length=2000)]

_LONGEST_FORM = 20_000
"""Maximum size of the form in bytes; a token of the issuer may have 16,384.

A form is read before its sender is rate-limited.
"""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>shotwatch</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/page/login.css">
<h1>shotwatch</h1>
<form method="post" action="/login?{query}">
<p><label>API key <input name="key" type="password" required autofocus></label>
<p><button>Log in</button> {why}
</form>
"""


@router.get("/login")
async def show_form(following: Next = "/docs") -> HTMLResponse:
    return _form(following)


@router.post("/login")
async def log_in(request: Request, sources: From, following: Next = "/docs") -> Response:
    """Store a valid key in a cookie that scripts cannot read and other sites cannot use.

    Raises:
        NotAdmitted: the form was sent by a page of another site.
        TooMany: too many logins failed at this address, or the caller exceeds the rate limit.
    """
    with limited_unknown_callers(request, sources):
        require_same_origin(request)
    key = _key_in(await request.body())
    try:
        with limited_unknown_callers(request, sources):
            caller = await sources.access.caller(key)
    except NotAdmitted as error:
        return _form(following, str(error), 401)
    count_for_caller(request, sources, caller)
    answer = RedirectResponse(_local(following), 303)
    over_tls = request.url.scheme == "https"
    answer.set_cookie(cookie_name(request), key, httponly=True, samesite="strict", secure=over_tls)
    return answer


@router.post("/logout", dependencies=[Depends(limit)])
async def log_out(request: Request) -> Response:
    require_same_origin(request)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(cookie_name(request), httponly=True, samesite="strict")
    return answer


def _form(following: str, why: str = "", status: int = 200) -> HTMLResponse:
    page = _PAGE.format(query=escape(urlencode({"next": following})), why=escape(why))
    return HTMLResponse(page, status, {**PAGE, "Cache-Control": "no-store"})


def _key_in(form: bytes) -> str:
    """Return the key in a form, which has no other field; empty if there is none."""
    if len(form) > _LONGEST_FORM:
        return ""
    try:
        fields = parse_qs(form.decode(errors="replace"), max_num_fields=1)
    except ValueError:
        return ""
    return fields.get("key", [""])[0].strip()


def _local(path: str) -> str:
    """Return the path, or the default if it leads to another site."""
    elsewhere = not path.startswith("/") or path.startswith(("//", "/\\"))
    return "/docs" if elsewhere else path
