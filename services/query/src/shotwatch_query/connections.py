"""Connections to the API: limits on their number, and on the time that a client takes to send and to read.

uvicorn limits the pause between two requests on one connection. It has no limit on the time for the rest of a
head or a body, on the time that a client takes to read, or on the size of a head that arrives at once.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Self, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from shotwatch_query.headers import ALWAYS
from shotwatch_query.limits.rates import network_of
from shotwatch_query.settings import QuerySettings

HEAD_S = 10.0
"""Time limit for the head of a request in seconds, from the opening of the connection or its first byte."""
BODY_S = 30.0
"""Time limit for a body of at most 64 KiB, in seconds."""
READ_S = 30.0
"""Time limit in seconds within which a client must read READ_BYTES of a waiting response."""
READ_BYTES = 64 * 1024
MOST_HEAD_BYTES = 32 * 1024
"""Maximum size of a request line and headers; a token of the issuer may have 16,384 bytes."""
_MALFORMED = {
    HTTPStatus.BAD_REQUEST: "the request is not valid HTTP/1.1",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the head of a request has {MOST_HEAD_BYTES} bytes at most",
    HTTPStatus.NOT_IMPLEMENTED: "the only transfer encoding of a request is chunked",
}
"""The errors that h11 finds, by the status that it suggests."""


def _closing(status: HTTPStatus, why: str, **more: str) -> bytes:
    """Return a response that closes the connection. It does not pass through the app's middleware."""
    headers = {**ALWAYS, "Content-Type": "text/plain", **more, "Connection": "close"}
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    )
    return "\r\n".join((*lines, "", f"{why}\n")).encode()


_FULL = _closing(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too many connections: close some, or ask again later",
    **{"Retry-After": "5"},
)
_TOO_SLOW = _closing(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")


@dataclass(slots=True)
class Connections:
    """The numbers of open connections, in total and by address. Proxies are not limited by address."""

    most: int
    most_of_address: int
    proxies: Sequence[IPv4Network | IPv6Network] = ()
    open: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, settings: QuerySettings) -> Self:
        proxies = filter(None, map(str.strip, (settings.query_proxies or "").split(",")))
        return cls(
            settings.query_connections,
            settings.query_connections_per_address,
            list(map(ip_network, proxies)),
        )

    def protocol(self) -> type[asyncio.Protocol]:
        """Return the factory of protocols that uvicorn calls for each connection."""
        return cast(type[asyncio.Protocol], partial(TimedProtocol, self))

    def has_room(self, host: str) -> bool:
        """Return whether one more connection from an address is allowed."""
        if self.open.total() >= self.most:
            return False
        return self.open[network_of(host)] < self.most_of_address or self._is_proxy(host)

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.proxies)


_TWO_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class _BoundedConnection(h11.Connection):
    """A connection of h11 with a limit on the size of a request's head, and one length of a request's body.

    h11 itself limits only incomplete heads: a head that arrives at once may have any size. It ignores the
    length of a body that is chunked as well; a proxy that ignores the other one would take a part of the body
    for a request of its own (RFC 9112, 6.1).
    """

    malformed = HTTPStatus.BAD_REQUEST
    """The status for the last request that could not be read."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        before = len(self.trailing_data[0])
        try:
            event = super().next_event()
            if isinstance(event, h11.Request) and before - len(self.trailing_data[0]) > MOST_HEAD_BYTES:
                raise h11.RemoteProtocolError("head too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if isinstance(event, h11.Request) and {name for name, _ in event.headers} >= _TWO_LENGTHS:
                raise h11.RemoteProtocolError("two lengths")
        except h11.RemoteProtocolError as error:
            self.malformed = HTTPStatus(error.error_status_hint)
            raise
        return event


class TimedProtocol(H11Protocol):
    """uvicorn's protocol with counted connections that are closed if the client takes too long."""

    conn: _BoundedConnection

    def __init__(self, connections: Connections, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = _BoundedConnection(h11.SERVER, MOST_HEAD_BYTES)
        self._open_connections = connections
        self._name: str | None = None
        """The name under which the connection is counted; None when it is not."""
        self._awaited: object = None
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        if not self._open_connections.has_room(host):
            self._end_with(_FULL)
            return
        self._name = network_of(host)
        self._open_connections.open[self._name] += 1
        self._time_request()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in filter(None, (self._late, self._unread)):
            timer.cancel()
        if self._name is not None:
            self._open_connections.open[self._name] -= 1
            # Drop addresses without connections.
            self._open_connections.open += Counter()
            self._name = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_request()

    def send_400_response(self, _msg: str) -> None:
        """Close the connection of a request that could not be read, with a reason worded by this module."""
        status = self.conn.malformed
        self._refuse(_closing(status, _MALFORMED[status]))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._time_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._time_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _time_request(self) -> None:
        """Start the timer when the next part of a request is due; more bytes of a part do not reset it."""
        if self.conn.their_state is self._awaited:
            return
        self._awaited = self.conn.their_state
        if self._late is not None:
            self._late.cancel()
        limit_s = {h11.IDLE: HEAD_S, h11.SEND_BODY: BODY_S}.get(self._awaited)
        self._late = None if limit_s is None else self.loop.call_later(limit_s, self._end_late)

    def _end_late(self) -> None:
        self._refuse(_TOO_SLOW)

    def _refuse(self, answer: bytes) -> None:
        """Close the connection with this response, unless another one has been started."""
        answering = (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        )
        self._end_with(b"" if answering else answer)

    def _end_with(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()

    def _time_reading(self, unread: int) -> None:
        self._unread = self.loop.call_later(READ_S, self._end_unread, unread)

    def _end_unread(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if before - unread < READ_BYTES:
            self.transport.abort()
        else:
            self._time_reading(unread)
