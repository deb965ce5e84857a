"""Every route of the REST API takes the scope that its method asks for, but for those that are public."""

import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from shotwatch_query.access import Caller
from shotwatch_query.access.guard import SAFE_METHODS
from shotwatch_query.service import PREFIX, create_app
from shotwatch_shots.vocabulary import Scope
from tests.unit.api import Acquaintance, sources

PUBLIC = {
    ("GET", "/"),
    ("GET", "/search"),
    ("GET", "/raw"),
    ("GET", "/page/h5wasm/{name}"),
    ("GET", "/page/{name}"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/docs"),
    ("GET", "/docs/files/{name}"),
    ("GET", "/redoc"),
    ("GET", f"{PREFIX}/openapi.json"),
}
"""The page without its data, the ways in, and the description of the API with what its pages are made of."""
READ_BY_ADMINS = f"{PREFIX}/audit"

Operation = tuple[str, str]


def api() -> FastAPI:
    return create_app(sources(access=Acquaintance(Caller("amelie", frozenset()))))


def operations(app: FastAPI) -> Iterator[Operation]:
    """Method and path of every route; a folder of files is read."""
    for route in iter_route_contexts(app.routes):
        yield from ((method, str(route.path)) for method in sorted(route.methods or {"GET"}))


async def scope_of(app: FastAPI, operation: Operation) -> str | None:
    """The scope that somebody without any is reported to lack; None where they are let in."""
    method, path = operation
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.request(method, re.sub(r"{.*?}", "any", path))
    asked = re.search('scope="(.*)"', answer.headers.get("www-authenticate", ""))
    return asked[1] if answer.status_code == 403 and asked else None


API = api()


@pytest.mark.parametrize("operation", sorted(set(operations(API)) - PUBLIC), ids=" ".join)
async def test_what_is_not_public_takes_the_scope_of_its_method(operation: Operation) -> None:
    method, path = operation
    changes = method not in SAFE_METHODS
    fitting = {Scope.LABEL, Scope.ADMIN} if changes else {Scope.READ}
    assert await scope_of(API, operation) in ({Scope.ADMIN} if path == READ_BY_ADMINS else fitting)


async def test_a_new_route_that_takes_no_scope_is_noticed() -> None:
    app, forgotten = api(), ("POST", f"{PREFIX}/forgotten")
    app.add_api_route(forgotten[1], lambda: None, methods=[forgotten[0]])
    assert forgotten in set(operations(app)) - PUBLIC
    assert await scope_of(app, forgotten) is None


def test_what_is_public_is_there() -> None:
    assert set(operations(API)) >= PUBLIC
