"""Large responses: they are sent in pieces, so that only what the client is about to read is in memory."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE_BYTES = 64 * 1024
Responses = dict[int | str, dict[str, Any]]
"""The responses of a route by status, as FastAPI takes them."""


class InPieces:
    """A middleware that sends each body in pieces, each after the client has read most of the previous one.

    If a large body were sent at once, the server would keep it until the client has read it, after the route
    has released its reserved memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def in_pieces(message: Message) -> None:
            body = memoryview(message.get("body", b""))
            while len(body) > PIECE_BYTES:
                piece, body = bytes(body[:PIECE_BYTES]), body[PIECE_BYTES:]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({**message, "body": bytes(body)} if body else message)

        await self._app(scope, receive, in_pieces)


async def joined(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the first piece, which a route has read to be sure that there is one, then the others."""
    yield first
    async for piece in others:
        yield piece


def streamed(pieces: Iterator[bytes], media_type: str) -> Response:
    """Return a response that is produced piece by piece, in a separate thread, as the client reads it."""
    return StreamingResponse(_gathered(pieces), media_type=media_type)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least PIECE_BYTES: each costs a switch of threads."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
