"""Connections that send or read too slowly, or are too many, do not stay open."""

import asyncio
import http.client
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.message import Message
from ipaddress import ip_network

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from shotwatch_query import connections
from shotwatch_query.connections import Connections
from shotwatch_query.service import _server
from shotwatch_query.settings import QuerySettings
from tests.unit.api import sources
from tests.unit.test_query_headers import check
from tests.unit.test_query_limits import Refuser

pytestmark = pytest.mark.slow

TIMEOUT_S = 20
REQUIRED = ("store_url", "store_access_key", "store_secret_key", "models_url")
ELSE = {"database_url": "mongodb://nobody", "facility": "none", "query_port": 0, "query_open": True}
GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = bytes(50_000_000)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, after the body, with much, or with a word now and one when the client has gone."""
    more = False
    if scope["path"] == "/body":
        more = True
        while more:
            more = (await receive()).get("more_body", False)
    body = LARGE if scope["path"] == "/large" else b"done"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"keep-alive")]})
    await send({"type": "http.response.body", "body": body, "more_body": scope["path"] == "/stream"})
    while scope["path"] == "/stream" and (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def serving(allowed: Connections) -> AsyncIterator[int]:
    """The port of a server with these limits."""
    configuration = uvicorn.Config(app, port=0, http=allowed.protocol(), log_config=None, lifespan="off")
    async with running(uvicorn.Server(configuration)) as port:
        yield port


@asynccontextmanager
async def running(server: uvicorn.Server) -> AsyncIterator[int]:
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(TIMEOUT_S):
        while not server.started:
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.config.timeout_graceful_shutdown = 0
    server.should_exit = True
    await task


@pytest.fixture
async def allowed() -> Connections:
    return Connections(most=400, most_of_address=350)


@pytest.fixture
async def port(allowed: Connections, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    for limit in ("HEAD_S", "BODY_S", "READ_S"):
        monkeypatch.setattr(connections, limit, 0.3)
    async with serving(allowed) as port:
        yield port


@pytest.fixture
async def default_port(allowed: Connections) -> AsyncIterator[int]:
    """That of a server with the time limits of the service."""
    async with serving(allowed) as port:
        yield port


def check_refusal(answer: bytes, status: int) -> Message:
    """The server itself answered with this status, a reason and all headers, which are returned."""
    lines = io.BytesIO(answer)
    assert lines.readline().startswith(f"HTTP/1.1 {status} ".encode())
    headers = http.client.parse_headers(lines)
    check(headers, data=True)
    assert (headers["content-type"], headers["connection"]) == ("text/plain", "close")
    assert lines.read()
    return headers


async def all_read(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    async with asyncio.timeout(TIMEOUT_S):
        return await reader.read()


async def emptied(allowed: Connections) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while allowed.open:
            await asyncio.sleep(0.01)


async def test_three_hundred_half_sent_requests_do_not_stay_open(port: int, allowed: Connections) -> None:
    half = b"GET /quick HTTP/1.1\r\nHost: x\r\nX-More: "
    opened = []
    for _ in range(300):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(half)  # at once: the first are closed before the last are open
        opened.append((reader, writer))
    answers = await asyncio.gather(*(all_read(reader) for reader, _ in opened))
    for answer in set(answers):
        check_refusal(answer, 408)
    await emptied(allowed)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", id="half a body"),
        pytest.param(
            b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            id="no last chunk",
        ),
        pytest.param(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", id="unread body"),
        pytest.param(GET + b"GET /quick HTTP/1.1\r\n", id="half a request after a whole one"),
        pytest.param(
            GET + b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
            id="half a body after a request",
        ),
    ],
)
async def test_what_is_not_sent_to_its_end_is_not_waited_for(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await all_read(reader)


async def test_bytes_that_come_one_by_one_do_not_keep_a_connection_open(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def trickle() -> None:
        while True:
            writer.write(b"X")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    with suppress(
        ConnectionResetError
    ):  # by a byte that came after the end: the answer before it may be lost
        check_refusal(await all_read(reader), 408)
    trickling.cancel()


async def test_a_stream_stays_open_however_long_it_lasts(port: int, allowed: Connections) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readuntil(b"done\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.2):
            await reader.read(100)
    assert allowed.open.total() == 1
    writer.close()
    await emptied(allowed)


async def test_one_connection_serves_many_requests(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(4):
        writer.write(GET)
        await reader.readuntil(b"done")
        await asyncio.sleep(0.2)


async def test_who_does_not_read_an_answer_is_dropped_with_it(port: int, allowed: Connections) -> None:
    with socket.create_connection(("127.0.0.1", port)) as lazy:
        lazy.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            while not allowed.open:
                await asyncio.sleep(0.01)
        await emptied(allowed)


async def test_who_reads_slowly_gets_all_of_it(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    came = 0
    while piece := await reader.read(4_000_000):
        came += len(piece)
        await asyncio.sleep(0.002)
    assert came > len(LARGE)


TOO_LONG = 50_000
"""Bytes that arrive at once: of more, a part may arrive after the connection is closed, and reset it."""


def head_of(size: int, last: bytes = b"") -> bytes:
    """A request with a head of so many bytes."""
    start, end = b"GET /quick HTTP/1.1\r\nHost: x\r\nX: ", last + b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(head_of(TOO_LONG), 431, id="too long"),
        pytest.param(head_of(TOO_LONG).replace(b"xx", b"  "), 431, id="spaces"),
        pytest.param(GET + head_of(TOO_LONG), 431, id="too long and behind another request"),
        pytest.param(head_of(TOO_LONG).removesuffix(b"\r\n"), 431, id="too long and half"),
        pytest.param(b"GET\r\n\r\n", 400, id="no request"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS"),
        pytest.param(b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 501, id="encoding"),
        pytest.param(
            b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
            400,
            id="two lengths",
        ),
    ],
)
async def test_what_is_no_request_is_answered_with_the_reason_and_all_headers(
    default_port: int, sent: bytes, status: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", default_port)
    writer.write(sent)
    if sent.startswith(GET):
        await reader.readuntil(b"0\r\n\r\n")
    check_refusal(await all_read(reader), status)


async def test_a_head_of_what_is_allowed_is_answered(default_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", default_port)
    writer.write(head_of(connections.MOST_HEAD_BYTES))
    assert await reader.readuntil(b"done")


async def test_connections_are_bounded_in_all_and_of_one_address_and_room_comes_back() -> None:
    few = Connections(most=3, most_of_address=2)
    async with serving(few) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in opened:
            writer.write(GET)
        assert [await reader.readuntil(b"done") for reader, _ in opened]
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        refusal = check_refusal(await all_read(reader), 503)
        assert refusal["retry-after"] == "5"
        opened[0][1].close()
        async with asyncio.timeout(TIMEOUT_S):
            while few.open.total() > 1:
                await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"done")


def test_a_proxy_has_as_many_connections_as_there_are() -> None:
    few = Connections(most=5, most_of_address=1, proxies=[ip_network("10.0.0.0/8")])
    few.open.update({"10.1.2.3": 4})
    assert few.has_room("10.1.2.3")
    assert few.has_room("192.0.2.1")
    few.open.update({"192.0.2.1": 1})
    assert not few.has_room("10.1.2.3")


def test_no_connection_becomes_a_websocket_whatever_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be counted for ever: the protocol that counts connections does not see its end."""
    monkeypatch.setattr("uvicorn.protocols.websockets.auto.AutoWebSocketsProtocol", asyncio.Protocol)
    settings = QuerySettings.model_validate({**dict.fromkeys(REQUIRED, "http://nobody"), **ELSE})
    configuration = _server(sources(settings=settings)).config
    configuration.load()
    assert configuration.ws_protocol_class is None


@pytest.mark.parametrize(
    ("proxies", "status", "limited_by"),
    [("127.0.0.0/8,::1", 303, "192.0.2.7"), ("10.0.0.0/8", 401, "127.0.0.1"), (None, 401, "127.0.0.1")],
)
async def test_headers_of_a_proxy_are_believed_where_it_is_named(
    proxies: str | None, status: int, limited_by: str
) -> None:
    """Scheme and address: a browser's form on https, and who it is that asks."""
    settings = QuerySettings.model_validate(
        {**dict.fromkeys(REQUIRED, "http://nobody"), **ELSE, "query_proxies": proxies}
    )
    behind = sources(settings=settings, access=Refuser())
    forwarded = {
        "Host": "shots.example",
        "Origin": "https://shots.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "192.0.2.7",
    }
    async with running(_server(behind)) as port, httpx.AsyncClient() as browser:
        login = f"http://127.0.0.1:{port}/login"
        answer = await browser.post(login, data={"key": "shotwatch_right"}, headers=forwarded)
        assert (await browser.post(login, data={"key": "wrong"}, headers=forwarded)).status_code == 401
    assert answer.status_code == status
    assert ("secure" in answer.headers.get("set-cookie", "").lower()) == (status == 303)
    assert list(behind.limits.strangers._full_at) == [limited_by]
