"""How much one request may send."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
"""Of a body; the longest statement about an event has some 10 kB."""


class Limited:
    """Refuses bodies of more than MOST_BYTES while they come in, whatever they say about their length."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST_BYTES:
                raise HTTPException(413, f"a body has {MOST_BYTES} bytes at the most")
            return message

        await self._app(scope, counted, send)
