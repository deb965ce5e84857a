"""Answers that are large: they go out in pieces, so that no more waits in memory than the client takes."""

from collections.abc import Iterator

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 64 * 1024


class LargeResponse(Response):
    """Sends its body in pieces, each when the client has taken most of the one before.

    The server keeps what it is given at once until the client has taken it, after the route has given back
    what it reserved.
    """

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body), PIECE_BYTES):
            piece = bytes(body[start : start + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def streamed(pieces: Iterator[bytes], media_type: str) -> Response:
    """Answer with what is made piece by piece, in a thread of its own, as the client takes it."""
    return StreamingResponse(_gathered(pieces), media_type=media_type)


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of PIECE_BYTES or a little more: each costs a switch of threads."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)
