"""The headers of every answer for browsers, and whose pages the cookie counts for."""

import re
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from shotwatch_common.archive.events import Events
from shotwatch_query.access import Caller
from shotwatch_query.live import Live
from shotwatch_query.routes import docs
from shotwatch_query.routes import page as page_module
from shotwatch_query.service import create_app
from shotwatch_shots.vocabulary import Scope
from tests.unit.api import BASE, Acquaintance, client, sources
from tests.unit.test_query_limits import Refuser
from tests.unit.test_query_live import Stored, admitted
from tests.unit.test_query_scopes import operations

EVERYBODY = Acquaintance(Caller("amelie", frozenset(Scope)))
PAGES = ("/", "/raw", "/login", "/docs", "/redoc", *(f"/page/{name}" for name in page_module.FILES))


def check(headers: Mapping[str, str], data: bool) -> None:
    """Every answer has all of them; what may hold data is kept nowhere."""
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    for source in ("script-src", "connect-src"):
        reported = re.search(f"{source} ([^;]*)", policy)
        allowed = ("'self'", "'none'", "'self' 'wasm-unsafe-eval'")  # the page's test names who may do that
        assert reported is None or reported[1] in allowed, policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] in (("no-store",) if data else ("no-store", "no-cache"))
    assert "strict-transport-security" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("operation", sorted(set(operations(create_app(sources())))), ids=" ".join)
async def test_every_route_has_them_whatever_it_answers(operation: tuple[str, str]) -> None:
    """There is nothing behind the API here: most of these answers are faults of it."""
    method, path = operation
    async with client(sources(access=EVERYBODY)) as api:
        answer = await api.request(method, re.sub(r"{.*?}", "any", path))
    check(answer.headers, data=path.startswith("/api"))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/shots", 405),
        ("GET", "/api/v1/shots?limit=0", 422),
        ("GET", "/api/v1/shots", 500),
        ("POST", "/api/v1/events/x/feedback", 422),
        ("GET", "/page/nothing.js", 404),
        ("GET", "/docs/files/secret", 404),
    ],
)
async def test_errors_have_them(method: str, path: str, status: int) -> None:
    async with client(sources(access=EVERYBODY)) as api:
        answer = await api.request(method, path)
    assert answer.status_code == status
    check(answer.headers, data=True)


async def test_who_is_not_let_in_gets_them_too() -> None:
    async with client(sources(access=Refuser())) as api:
        answers = [await api.get("/api/v1/shots"), await api.post("/login", data={"key": "x"})]
    assert [each.status_code for each in answers] == [401, 401]
    for answer in answers:
        check(answer.headers, data=True)


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with Live.of(cast(Events, Stored())) as live:
        await admitted(live)
        yield live


async def test_the_stream_of_events_has_them(live: Live) -> None:
    live.close()
    ended = SimpleNamespace(listener=live.listener, follow=lambda *_: nothing())
    async with client(sources(live=ended)) as api:
        answer = await api.get("/api/v1/events/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    check({**answer.headers, "cache-control": "no-store"}, data=True)


async def nothing() -> AsyncIterator[None]:
    for _ in ():
        yield


@pytest.mark.parametrize("path", PAGES)
async def test_pages_hold_nothing_inline_and_nothing_from_elsewhere(path: str) -> None:
    async with client(sources()) as api:
        answer = await api.get(path)
    assert answer.status_code == 200
    if answer.headers["content-type"].startswith("text/html"):
        assert not re.findall(r"<script(?! [^>]*src=\"/)|<style|\son\w+=|\sstyle=", answer.text)
        assert all(each.startswith("/") for each in re.findall(r'(?:src|href|action)="([^"]*)"', answer.text))


async def test_what_the_pages_of_the_description_need_is_there() -> None:
    async with client(sources()) as api:
        for path in ("/docs", "/redoc"):
            needed = re.findall(r'(?:src|href|spec-url)="([^"]*)"', (await api.get(path)).text)
            assert len(needed) >= 3
            assert {(await api.get(each)).status_code for each in needed} == {200}
    assert all((docs.FOLDER / name).is_file() for name in docs.FILES)


async def test_over_tls_browsers_are_directed_to_stay_there() -> None:
    async with client(sources(), base_url="https://127.0.0.1") as api:
        reported = (await api.get("/api/v1/facility")).headers
    assert reported["strict-transport-security"] == "max-age=31536000"


async def changed(api: httpx.AsyncClient, origin: str, **headers: str) -> int:
    """The status of a change by the cookie; 422 is that of one that was let in and has no body."""
    cookie = {"Cookie": "shotwatch_key=any; 8000_shotwatch_key=any"}
    answer = await api.post("/api/v1/events/x/feedback", headers={"Origin": origin, **cookie, **headers})
    return answer.status_code


@pytest.mark.parametrize(
    ("own", "origin", "status"),
    [
        (BASE, BASE, 422),
        (BASE, "https://127.0.0.1:8000", 401),
        ("https://shots.example", "https://shots.example", 422),
        ("https://shots.example", "https://shots.example:443", 422),
        ("https://shots.example", "HTTPS://SHOTS.example", 401),
        ("https://shots.example", "http://shots.example", 401),
        ("http://shots.example", "https://shots.example", 401),
        ("https://shots.example", "https://shots.example:8443", 401),
        ("https://shots.example", "https://shots.example.evil", 401),
        ("https://shots.example", "https://evil/shots.example", 401),
        ("https://shots.example", "https://evil@shots.example", 401),
        ("https://shots.example", "null", 401),
        ("https://shots.example", "", 401),
        ("https://shots.example", "https://[", 401),
        ("https://shots.example", "https://shots.example:x", 401),
        ("https://shots.example", "//shots.example", 401),
    ],
)
async def test_the_cookie_counts_for_pages_of_the_same_scheme_host_and_port(
    own: str, origin: str, status: int
) -> None:
    async with client(sources(access=EVERYBODY), base_url=own) as api:
        assert await changed(api, origin) == status


async def test_a_header_of_a_stranger_does_not_make_a_connection_secure() -> None:
    async with client(sources(access=EVERYBODY), base_url="http://shots.example") as api:
        forged = await changed(api, "https://shots.example", **{"X-Forwarded-Proto": "https"})
        own = {"Origin": "http://shots.example", "X-Forwarded-Proto": "https"}
        login = await api.post("/login", data={"key": "any"}, headers=own)
    assert forged == 401
    assert login.status_code == 303
    assert "secure" not in login.headers["set-cookie"].lower()
