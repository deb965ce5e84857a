"""A client of the broker that does only what a test requests: it acknowledges nothing, and stops reading."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from pamqp import commands, exceptions, frame

_PROTOCOL = b"AMQP\x00\x00\x09\x01"
_CHANNEL = 1


class RawClient:
    """A connection with one channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._received = b""

    @classmethod
    @asynccontextmanager
    async def connected(cls, address: str) -> AsyncIterator[Self]:
        """A client that is logged in. Nothing is read from its socket but the answers to what it asks."""
        url = urlsplit(address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        client = cls(reader, writer)
        try:
            writer.write(_PROTOCOL)
            await client._answer()
            login = f"\0{url.username}\0{url.password}"
            client.send(commands.Connection.StartOk({}, "PLAIN", login, "en_US"), channel=0)
            tune = await client._answer()
            client.send(commands.Connection.TuneOk(tune.channel_max, tune.frame_max, heartbeat=0), channel=0)
            await client.ask(commands.Connection.Open("/"), channel=0)
            await client.ask(commands.Channel.Open())
            yield client
        finally:
            writer.transport.abort()

    async def ask(self, request: Any, channel: int = _CHANNEL) -> Any:
        """Send a method, and return the first frame that comes after it."""
        self.send(request, channel)
        return await self._answer()

    def send(self, part: Any, channel: int = _CHANNEL) -> None:
        """Send a method, or a part of a message."""
        self._writer.write(frame.marshal(part, channel))

    async def sent(self) -> None:
        """Wait until the broker took most of what was sent."""
        await self._writer.drain()

    async def _answer(self) -> Any:
        while True:
            try:
                size, _, answer = frame.unmarshal(self._received)
            except exceptions.UnmarshalingException:
                received = await self._reader.read(2**16)
                assert received, "the broker closed the connection"
                self._received += received
            else:
                self._received = self._received[size:]
                return answer
