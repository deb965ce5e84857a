"""Whatever a request contains, the API answers with a success or with what is wrong with the request."""

import base64
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .query_world import ANOMALOUS, CAMERA, LA, METER, World, shot
from .test_query_api import ENDLESS, OPENAPI

Operation = tuple[str, str]


def cursor_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


NUMBERS = ["0", "-1", "1e999", "NaN", "9" * 4000, str(2**63), "0x10", "1_0", "١٢"]
TIMES = [
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "2022-07-01T24:00:00Z",
]
TEXTS = [
    "",
    " ",
    "\x00",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "\u202e",
    "a" * 5000,
    "'" * 3999,
    "../../etc/passwd",
    "$where",
    '{"$ne": null}',
    "=HYPERLINK()",
    "%00%ff",
    "[" * 2000,
]
CURSORS = [
    cursor_of(b"[" * 1400),
    cursor_of(b"[" * 300 + b"]" * 300),
    cursor_of(b'[0,1,2,"' + b"x" * 1400 + b'"]'),
    cursor_of(b'[0,1,2,{"$gt":""}]'),
    cursor_of(b'[1e400,1,2,"x"]'),
    cursor_of(b"[" + b"1" * 1300 + b',1,2,"x"]'),
    cursor_of(b'[0,1,2,"\\ud800"]'),
    cursor_of(b'[-62135596800000,253402300799999,0,""]'),
]
EXPRESSIONS = [
    "(" * 3000,
    "not " * 900 + "complete",
    "score in (" + "1," * 1900 + "1)",
    "+".join(["score"] * 140) + " > 1",
    "rolling_mean(" * 25 + "score" + ", 1000)" * 25 + " > 1",
    "x = rolling_std(score, 1000)",
    "x = 'text'",
    "x = " * 900,
    "percentile(score, 1e9)",
    "mean(" * 900,
    "score > 1e308 * 1e308 and 1 / 0 > log10(-1)",
    "time > 9999-12-31T23:59:59-23:59",
    "'" * 3999,
    '"' * 3999,
    "a." * 1900,
    "score > 1; drop table shots",
    "__import__('os')",
    "\ud800 = 1".encode("utf-8", "surrogatepass").decode("latin-1"),
]
HOSTILE = [*NUMBERS, *TIMES, *TEXTS, *CURSORS]
BODIES = [
    b"",
    b"null",
    b"[]",
    b"[" * 30_000,
    b'{"a":' * 10_000,
    b"\xff\xfe",
    b'{"action":"acknowledged","who":"\\ud800"}',
    b'{"action":"acknowledged","who":"a","\\ud800":1}',
    b'{"action":"snoozed","who":"a","until":1e400}',
    b'{"action":"snoozed","who":"a","until":' + b"9" * 5000 + b"}",
    json.dumps({"action": "acknowledged", "who": "a", **{f"k{n}": n for n in range(4000)}}).encode(),
    json.dumps([{}] * 15_000).encode(),
]
HEADERS = [
    {"Last-Event-ID": "9" * 5000},
    {"traceparent": "00-" + "f" * 32 + "-" + "0" * 16 + "-ff"},
    {"tracestate": "a=" + "x" * 5000},
    {"baggage": "a=%ff,b=\xff"},
    {"Authorization": "Bearer " + "ey" * 3000},
    {"Authorization": "Bearer \xff\xfe"},
    {"Authorization": "Basic"},
    {"Cookie": "shotwatch_key=\xff; a=b; " + "c=d; " * 500 + "e=f"},
    {"Accept": "*/*;q=nonsense"},
    {"Range": "bytes=9-0,5-"},
    {"Content-Type": "application/json; charset=nothing"},
    {"Host": "[::1"},
    {"Origin": "http://["},
    {"Content-Encoding": "gzip"},
]
DEFAULTS = {
    "shot": shot(ANOMALOUS),
    "device": CAMERA,
    "feature": "centroid_x",
    "place": str(LA.place),
}
OF_NAME = {"cursor": CURSORS, **dict.fromkeys(("where", "derive", "aggregate"), EXPRESSIONS)}
"""Values for parameters of these names."""


def operations() -> Iterator[Operation]:
    for path, methods in OPENAPI["paths"].items():
        if path != ENDLESS:
            yield from ((method, path) for method in methods)


def parameters(operation: Operation, where: str) -> list[str]:
    method, path = operation
    return [p["name"] for p in OPENAPI["paths"][path][method].get("parameters", ()) if p["in"] == where]


def path_of(operation: Operation, **given: str) -> str:
    _, path = operation
    path = path.removeprefix("/api/v1").replace("{device}/energy", f"{METER}/energy")
    for name in parameters(operation, "path"):
        path = path.replace(f"{{{name}}}", quote(given.get(name, DEFAULTS.get(name, "none")), safe=""))
    return path


def default_query(operation: Operation) -> dict[str, str]:
    return {name: DEFAULTS[name] for name in parameters(operation, "query") if name in DEFAULTS}


def ask(world: World, operation: Operation, path: str, query: Any = None, **more: Any) -> None:
    answer = world.api.request(operation[0], path.lstrip("/"), params=query, **more)
    assert answer.status_code < 500, (path, query, more, answer.text)
    assert answer.status_code != 429, "the test is not about this"
    assert len(answer.content) < 2_000_000
    if answer.status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        assert answer.headers["content-type"] == "text/plain"  # refused before any route is found
    elif answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert len(answer.content) < 60_000


OPERATIONS = sorted(operations())


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_hostile_values_of_parameters_are_the_fault_of_the_request(
    world: World, operation: Operation
) -> None:
    """A sixth of the values for each parameter, each sixth for one in six; `make fuzz` draws from all."""
    for n, name in enumerate(parameters(operation, "query")):
        for value in OF_NAME.get(name, HOSTILE[n % 6 :: 6]):
            ask(world, operation, path_of(operation), {**default_query(operation), name: value})
    for name in parameters(operation, "path"):
        for value in filter(None, TEXTS):
            ask(world, operation, path_of(operation, **{name: value}), default_query(operation))
    ask(world, operation, path_of(operation), [(f"unknown-{n}", "1") for n in range(2000)])


def test_hostile_headers_are_the_fault_of_the_request(world: World) -> None:
    for headers in HEADERS:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        for operation in (
            ("get", "/api/v1/shots"),
            ("get", "/api/v1/health"),
            ("post", "/api/v1/events/{event_id}/feedback"),
        ):
            ask(world, operation, path_of(operation), headers=httpx.Headers(raw))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_hostile_bodies_are_the_fault_of_the_request(world: World, body: bytes) -> None:
    operation = ("post", "/api/v1/events/{event_id}/feedback")
    ask(world, operation, path_of(operation), content=body, headers={"Content-Type": "application/json"})


ANYTHING = st.one_of(
    st.sampled_from([*HOSTILE, *EXPRESSIONS]),
    st.text(max_size=300),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=20).map(
        lambda value: cursor_of(json.dumps(value).encode())
    ),
)


@pytest.mark.fuzz
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
@given(data=st.data())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_any_values_of_parameters_are_the_fault_of_the_request(
    world: World, operation: Operation, data: st.DataObject
) -> None:
    query = data.draw(
        st.fixed_dictionaries({}, optional=dict.fromkeys(parameters(operation, "query"), ANYTHING))
    )
    path = {name: data.draw(ANYTHING) for name in parameters(operation, "path") if data.draw(st.booleans())}
    ask(world, operation, path_of(operation, **path), {**default_query(operation), **query})
