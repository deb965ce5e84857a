"""What one caller may take up, however hard they try."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.archive.events import Events
from shotwatch_common.archive.measurements import Series
from shotwatch_query.access import Caller
from shotwatch_query.access.guard import CHANGE_TOKENS
from shotwatch_query.answers import PIECE_BYTES, InPieces, streamed
from shotwatch_query.domain.columns import json_pieces, moments_of
from shotwatch_query.errors import NotAdmitted, TooMany, Unavailable
from shotwatch_query.limits.memory import (
    LEAST_BYTES,
    MOST_WAITING_OF_CALLER,
    SHARE_BYTES,
    TOTAL_BYTES,
    Memory,
)
from shotwatch_query.limits.rates import BURST_S, MOST_NAMES, Rates, network_of
from shotwatch_query.live import Live
from shotwatch_query.routes import page
from shotwatch_query.service import create_app
from shotwatch_shots.vocabulary import Scope
from tests.unit.api import BASE, Acquaintance, client, limits, sources
from tests.unit.test_query_live import Stored, admitted, valid

SHOWN = {"Authorization": "Bearer shotwatch_any"}
KNOWN = {"Authorization": "Bearer shotwatch_right"}
OWN = {"Origin": BASE}
METER = "LA_A1_11-EM_1-EnergyMeter-1"


# Rates.


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(rates: Rates, name: str, tries: int, tokens: int = 1) -> int:
    """How many of so many tries succeed."""
    succeeded = 0
    for _ in range(tries):
        try:
            rates.take(name, tokens)
        except TooMany:
            continue
        succeeded += 1
    return succeeded


def test_a_burst_is_ten_seconds_worth_and_then_the_rate_counts() -> None:
    rates = Rates(4, "X", clock := Clock())
    assert taken(rates, "amelie", 100) == 4 * BURST_S
    assert taken(rates, "boris", 1) == 1
    clock.now += 2
    assert taken(rates, "amelie", 100) == 8
    clock.now += 3600
    assert taken(rates, "amelie", 100) == 4 * BURST_S
    assert taken(Rates(4, "X", clock), "amelie", 100, tokens=20) == 2


def test_a_refusal_states_how_long_to_wait_and_which_setting_it_was() -> None:
    rates = Rates(4, "SHOTWATCH_X", clock := Clock())
    taken(rates, "amelie", 40)
    with pytest.raises(
        TooMany, match=r"amelie asks more often than 4 times a second \(SHOTWATCH_X\)"
    ) as reported:
        rates.take("amelie")
    assert reported.value.wait_s == pytest.approx(0.25)
    clock.now += reported.value.wait_s
    rates.take("amelie")


def test_however_many_names_there_are_few_are_kept_and_the_busy_one_is_not_forgotten() -> None:
    rates = Rates(1, "X", Clock())
    taken(rates, "busy", 10)
    for n in range(3 * MOST_NAMES):
        rates.take(f"name-{n}")
        if n % 1000 == 0:
            assert taken(rates, "busy", 1) == 0 or n == 0
            rates._full_at.move_to_end("busy")
    assert len(rates._full_at) == MOST_NAMES


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_an_address_of_version_6_is_limited_with_its_network(host: str, network: str) -> None:
    assert network_of(host) == network


async def test_a_caller_who_asks_too_often_learns_when_to_come_back_and_others_are_not_hindered() -> None:
    amelie = Acquaintance(Caller("amelie", frozenset({Scope.READ})))
    behind = sources(access=amelie, limits=limits(callers=0.2))
    async with client(behind, headers=SHOWN) as api:
        answers = [await api.get("/api/v1/facility") for _ in range(5)]
        assert [each.status_code for each in answers] == [200] * 2 + [429] * 3
        refused = answers[-1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= BURST_S
        assert refused.json()["detail"].startswith("amelie asks more often than 0.2 times a second (CALLERS)")
        amelie._caller = Caller("boris", frozenset({Scope.READ}))
        assert (await api.get("/api/v1/facility")).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/shots", "/docs", "/api/v1/openapi.json"])
async def test_strangers_are_limited_by_address_whatever_they_ask_for(path: str) -> None:
    behind = sources(access=Refuser(), limits=limits(strangers=0.2))
    wrong = {"Authorization": "Bearer shotwatch_wrong"}
    async with client(behind, headers=wrong) as api:
        answers = [(await api.get(path)).status_code for _ in range(5)]
    assert answers[:2] in ([401] * 2, [200] * 2)
    assert answers[2:] == [429] * 3


FEEDBACK = "/api/v1/events/x/feedback"
FAILING = [
    pytest.param("GET", "/nothing", b"", 404, id="no page"),
    pytest.param("GET", "/page/nothing.js", b"", 404, id="no file"),
    pytest.param("GET", "/api/v1/nothing", b"", 404, id="no resource"),
    pytest.param("DELETE", "/api/v1/shots", b"", 405, id="no such method"),
    pytest.param("OPTIONS", "/", b"", 405, id="no such method of a page"),
    pytest.param("GET", "/login?next=" + 2001 * "x", b"", 422, id="a query that is none"),
    pytest.param("POST", FEEDBACK, b"{", 422, id="a body that is none"),
    pytest.param("POST", FEEDBACK, 70_000 * b"x", 413, id="a body that is too large"),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), FAILING)
async def test_requests_of_strangers_that_fail_count_as_others_do(
    method: str, path: str, body: bytes, status: int
) -> None:
    json = {"Content-Type": "application/json"}
    async with client(sources(access=Refuser(), limits=limits(strangers=0.2)), headers=json) as api:
        answers = [(await api.request(method, path, content=body)).status_code for _ in range(5)]
        assert answers == [status] * 2 + [429] * 3
        known = await api.request(method, path, content=body, headers=KNOWN)
        assert known.status_code == status


@pytest.mark.parametrize(("method", "path", "body", "status"), FAILING)
async def test_requests_of_a_caller_that_fail_count_for_the_caller(
    method: str, path: str, body: bytes, status: int
) -> None:
    tokens = 1 if method == "GET" else CHANGE_TOKENS
    behind = sources(access=Refuser(), limits=limits(callers=tokens * 2 / BURST_S, strangers=0.1))
    async with client(behind, headers={**KNOWN, "Content-Type": "application/json"}) as api:
        answers = [await api.request(method, path, content=body) for _ in range(3)]
    assert [each.status_code for each in answers] == [status, status, 429]
    assert answers[-1].json()["detail"].startswith("amelie asks more often")


async def test_a_stranger_who_loads_pages_all_day_reaches_no_limit() -> None:
    """A browser asks for an icon, too, which no page has: one request that counts, of two hundred."""
    behind = sources(access=Refuser(), limits=limits(strangers=20))
    async with client(behind) as api:
        for _ in range(50):
            for path in ("/", "/login", *(f"/page/{name}" for name in page.FILES)):
                assert (await api.get(path)).status_code == 200
            assert (await api.get("/favicon.ico")).status_code == 404


async def test_logging_out_counts_too() -> None:
    async with client(sources(access=Refuser(), limits=limits(strangers=0.2)), headers=OWN) as api:
        answers = [(await api.post("/logout")).status_code for _ in range(5)]
    assert answers == [303] * 2 + [429] * 3


async def test_tokens_that_cannot_be_checked_count_for_their_address() -> None:
    async with client(sources(access=Away(), limits=limits(strangers=0.2)), headers=SHOWN) as api:
        answers = [(await api.get("/api/v1/facility")).status_code for _ in range(5)]
    assert answers == [503] * 2 + [429] * 3


class Away:
    """Cannot identify anybody: the issuer does not answer."""

    required = True

    async def caller(self, _credential: str | None) -> Caller:
        raise Unavailable("the issuer does not answer")


@pytest.mark.parametrize("path", ["/api/v1/facility", "/docs", "/api/v1/openapi.json"])
@pytest.mark.parametrize(
    "shown", [{"Authorization": "Bearer shotwatch_right"}, {"Cookie": "8000_shotwatch_key=shotwatch_right"}]
)
async def test_a_flood_of_strangers_does_not_keep_out_who_is_known(path: str, shown: dict[str, str]) -> None:
    async with flooded() as api:
        assert (await api.get(path, headers=shown)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/login", *(f"/page/{name}" for name in page.FILES)])
async def test_pages_without_data_are_there_for_everybody_during_a_flood(path: str) -> None:
    async with flooded() as api:
        assert (await api.get(path)).status_code == 200


async def test_a_valid_key_logs_in_during_a_flood_and_wrong_ones_are_limited() -> None:
    async with flooded() as api:
        assert (await log_in(api, "shotwatch_right")).status_code == 303
        refused = await log_in(api, "shotwatch_wrong")
        assert refused.status_code == 429
        assert "STRANGERS" in refused.json()["detail"]


async def test_logins_that_fail_are_limited_whether_by_key_origin_or_form() -> None:
    wrong = {"data": {"key": "shotwatch_wrong"}, "headers": OWN}
    elsewhere = {"data": {"key": "shotwatch_right"}, "headers": {"Origin": "http://elsewhere.example"}}
    two_fields = {"data": {"key": "shotwatch_right", "other": "field"}, "headers": OWN}
    long = {"data": {"key": f"{' ' * 20_000}shotwatch_right"}, "headers": OWN}
    for request in (wrong, elsewhere, two_fields, long):
        behind = sources(access=Refuser(), limits=limits(strangers=0.2))
        async with client(behind) as api:
            answers = [(await api.post("/login", **request)).status_code for _ in range(5)]
        assert answers == [401] * 2 + [429] * 3


async def test_logins_of_a_caller_count_for_the_caller() -> None:
    behind = sources(access=Refuser(), limits=limits(callers=0.2, strangers=0.2))
    async with client(behind) as api:
        answers = [(await log_in(api, "shotwatch_right")).status_code for _ in range(5)]
        assert answers == [303] * 2 + [429] * 3
        assert (await log_in(api, "shotwatch_wrong")).status_code == 401


@asynccontextmanager
async def flooded() -> AsyncIterator[httpx.AsyncClient]:
    """The API, asked by strangers until they are refused."""
    async with client(sources(access=Refuser(), limits=limits(strangers=0.2))) as api:
        stranger = {"Authorization": "Bearer shotwatch_wrong"}
        answers = [(await api.get("/api/v1/shots", headers=stranger)).status_code for _ in range(5)]
        assert answers[-1] == 429
        yield api


async def log_in(api: httpx.AsyncClient, key: str) -> httpx.Response:
    return await api.post("/login", data={"key": key}, headers=OWN)


class Refuser:
    """Knows one key."""

    required = True

    def __init__(self, scopes: frozenset[Scope] = frozenset(Scope)) -> None:
        self._scopes = scopes

    async def caller(self, credential: str | None) -> Caller:
        if credential != "shotwatch_right":
            raise NotAdmitted("this key is unknown", shown=True)
        return Caller("amelie", self._scopes)


# Memory.


async def test_a_caller_has_half_of_the_memory_and_all_together_have_all_of_it() -> None:
    memory = Memory(wait_s=0)
    async with memory.reserved("amelie", SHARE_BYTES):
        with pytest.raises(TooMany, match="amelie has asked for too many large answers at once"):
            await memory.reserved("amelie", 1).__aenter__()
        async with memory.reserved("boris", SHARE_BYTES):
            with pytest.raises(Unavailable, match="for others"):
                await memory.reserved("carla", 1).__aenter__()
    async with memory.reserved("carla", SHARE_BYTES):
        pass
    assert not memory._used


async def test_who_waits_gets_in_when_there_is_room_and_the_queue_is_bounded() -> None:
    memory = Memory()
    entered: list[int] = []

    async def ask(n: int) -> None:
        async with memory.reserved("amelie", SHARE_BYTES):
            entered.append(n)

    async with memory.reserved("amelie", SHARE_BYTES):
        asking = [asyncio.create_task(ask(n)) for n in range(MOST_WAITING_OF_CALLER + 5)]
        refused, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
        assert entered == []
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert len(entered) == MOST_WAITING_OF_CALLER
    assert sum(isinstance(each, TooMany) for each in results) == 5 >= len(refused) > 0
    assert not memory._used
    assert not memory._waiting


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    memory = Memory()
    async with memory.reserved("amelie", SHARE_BYTES):
        asking = asyncio.create_task(memory.reserved("amelie", 1).__aenter__())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
    assert not memory._waiting
    assert not memory._used


async def test_small_answers_are_counted_with_the_least() -> None:
    memory = Memory(wait_s=0)
    async with AsyncExitStack() as held:
        for n in range(TOTAL_BYTES // LEAST_BYTES):
            await held.enter_async_context(memory.reserved(f"caller-{n % 2}", 1))
        with pytest.raises(Unavailable):
            await held.enter_async_context(memory.reserved("amelie", 1))


# Large answers.


class Slow:
    """Devices, and measurements of which as many as asked for are there when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.reading = 0

    async def newest(self, _latest: int) -> int:
        return 0

    async def series(self, _device: str, names: list[str], start: int, end: int) -> Series:
        self.reading += 1
        await self.go.wait()
        pulses = np.arange(start, end, 100)
        return Series(pulses, {name: np.ones(len(pulses)) for name in names})


async def test_of_many_large_answers_of_one_caller_one_is_made_at_a_time() -> None:
    slow = Slow()
    behind = sources(archive=SimpleNamespace(measurements=slow, devices=slow))
    behind.limits.memory._wait_s = 0
    span = {"from": 0, "to": 100_000_000, "feature": "energy"}
    async with client(behind) as api:
        first = asyncio.create_task(api.get(f"/api/v1/devices/{METER}/series", params=span))
        async with asyncio.timeout(10):
            while not slow.reading:
                await asyncio.sleep(0)
        others = [await api.get(f"/api/v1/devices/{METER}/series", params=span) for _ in range(3)]
        slow.go.set()
        answer = await first
    assert [each.status_code for each in others] == [429] * 3
    assert "ask for one at a time, or for less" in others[0].json()["detail"]
    assert int(others[0].headers["retry-after"]) >= 1
    assert slow.reading == 1
    assert answer.content.count(b'Z"') == 1_000_000
    assert not behind.limits.memory._used


@given(
    st.lists(st.tuples(st.integers(-(10**12), 10**13), st.floats(), st.booleans()), max_size=40),
    st.integers(1, 7),
)
def test_json_in_pieces_reads_back_as_the_whole(rows: list[tuple[int, float, bool]], piece: int) -> None:
    times = np.array([row[0] for row in rows], np.int64)
    values, flags = np.array([row[1] for row in rows], float), np.array([row[2] for row in rows], bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shotwatch_query.domain.columns.PIECE", piece)
        text = b"".join(
            json_pieces({"times": moments_of(times), "rest": [{"v": values}, flags, "\u202e", None]})
        )
    read = json.loads(text)
    assert [
        np.datetime64(each.removesuffix("Z"), "ms").astype(int) for each in read["times"]
    ] == times.tolist()
    expected = [float(f"{v:.7g}") if np.isfinite(v) else None for v in values.tolist()]
    assert read["rest"] == [{"v": expected}, flags.tolist(), "\u202e", None]


async def sent(response: Any) -> list[bytes]:
    """The pieces of a response's body."""
    pieces: list[bytes] = []

    async def send(message: Any) -> None:
        pieces.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    await response({"type": "http", "method": "GET"}, receive, send)
    return [piece for piece in pieces if piece]


async def test_a_large_answer_goes_out_in_pieces() -> None:
    body = np.random.default_rng(0).bytes(3 * PIECE_BYTES + 7)
    pieces = await sent(InPieces(Response(body)))
    assert b"".join(pieces) == body
    assert [len(piece) for piece in pieces] == [PIECE_BYTES] * 3 + [7]
    assert await sent(InPieces(Response(body[:PIECE_BYTES]))) == [body[:PIECE_BYTES]]
    crumbs = iter([body[n : n + 100] for n in range(0, len(body), 100)])
    pieces = await sent(streamed(crumbs, "text/csv"))
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) < PIECE_BYTES + 100
    assert len(pieces) == 3


async def test_no_route_sends_a_large_answer_at_once() -> None:
    """The description of the API is one; whoever does not read it keeps a piece of it in memory."""
    sizes: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            sizes.append(len(message.get("body", b"")))
            await send(message)

        await create_app(sources())(scope, receive, noted)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as browser:
        answer = await browser.get("/api/v1/openapi.json")
    assert answer.json()["openapi"]
    assert (max(sizes), sum(sizes)) == (PIECE_BYTES, len(answer.content))


# Streams.


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    async with Live.of(cast(Events, Stored()), per_caller=3) as live:
        await admitted(live)
        yield live


async def test_one_caller_cannot_take_all_streams(live: Live) -> None:
    async with AsyncExitStack() as held:
        for _ in range(3):
            held.enter_context(live.listener("amelie", valid))
        with pytest.raises(TooMany, match="amelie holds 3 streams already"), live.listener("amelie", valid):
            pass
        held.enter_context(live.listener("boris", valid))
    with live.listener("amelie", valid):
        pass


async def test_a_stream_too_many_is_answered_with_429(live: Live) -> None:
    async with AsyncExitStack() as held, client(sources(live=live)) as api:
        for _ in range(3):
            held.enter_context(live.listener("anybody", valid))
        answer = await api.get("/api/v1/events/stream")
    assert answer.status_code == 429
    assert "SHOTWATCH_QUERY_STREAMS_PER_CALLER" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "5"
