"""Links between the services and their servers that a test can break: a TCP proxy of the tests' own."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from math import inf
from typing import Self

from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.stack import Stack
from tests.ports import PORTS

LINKED = ("broker", "database", "store")
_PIECE = 2**16
_RESET = struct.pack("ii", 1, 0)
"""To linger for no time: the connection is reset, not ended."""


class Link:
    """Carries connections to the server on `server_port`; listens on `port`."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = PORTS.take()
        self._ends: set[asyncio.StreamWriter] = set()
        self._swallows = False
        self._delay_s, self._bytes_per_s = 0.0, inf

    @classmethod
    @asynccontextmanager
    async def to(cls, server_port: int) -> AsyncIterator[Self]:
        link = cls(server_port)
        await link._listen()
        try:
            yield link
        finally:
            link._listener.close()
            link._reset()

    async def cut(self, seconds: float) -> int:
        """Reset all connections and refuse new ones for a while; how many were reset."""
        async with self.away() as reset:
            await asyncio.sleep(seconds)
        return reset

    @asynccontextmanager
    async def away(self) -> AsyncIterator[int]:
        """Reset all connections, and refuse new ones until this is left; how many were reset."""
        self._listener.close()
        yield self._reset()
        await self._listen()

    async def swallow(self, seconds: float) -> int:
        """Take connections, and lose all that is sent, for a while; then reset them. How many were reset.

        What was sent meanwhile never arrives, as where a firewall forgot its connections.
        """
        self._swallows = True
        await asyncio.sleep(seconds)
        self._swallows = False
        return self._reset()

    @contextmanager
    def slowed(self, delay_s: float, bytes_per_s: float) -> Iterator[None]:
        """Hold every piece (64 KiB at most) of each connection for the delay and its time at the rate."""
        self._delay_s, self._bytes_per_s = delay_s, bytes_per_s
        try:
            yield
        finally:
            self._delay_s, self._bytes_per_s = 0.0, inf

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._carry, LOOPBACK, self.port, reuse_port=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(LOOPBACK, self.server_port)
        except OSError:
            _reset(writer)
            return
        ends = {writer, to_server}
        self._ends |= ends
        both = [
            asyncio.create_task(pump)
            for pump in (self._pump(reader, to_server), self._pump(from_server, writer))
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ends -= ends
            for pump, end in zip(both, ends, strict=True):
                pump.cancel()
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if self._swallows:
                    continue
                await asyncio.sleep(self._delay_s + len(piece) / self._bytes_per_s)
                writer.write(piece)
                await writer.drain()

    def _reset(self) -> int:
        for end in self._ends:
            _reset(end)
        return len(self._ends) // 2


@asynccontextmanager
async def links_to(stack: Stack) -> AsyncIterator[Mapping[str, Link]]:
    """A link to each server that services work with, by its name."""
    ports = {each.name: each.port for each in stack.status() if each.name in LINKED}
    async with AsyncExitStack() as links:
        yield {name: await links.enter_async_context(Link.to(port)) for name, port in ports.items()}


def through(links: Mapping[str, Link], environment: Mapping[str, str]) -> dict[str, str]:
    """The addresses in an environment, where they name a linked server: by its link."""
    variables = dict(environment)
    for link in links.values():
        server, way = f"{LOOPBACK}:{link.server_port}", f"{LOOPBACK}:{link.port}"
        variables = {name: value.replace(server, way) for name, value in variables.items()}
    # else the database's driver asks the server for its address, and goes there
    variables["SHOTWATCH_DATABASE_URL"] += "&directConnection=true"
    return variables


def _reset(end: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()
