"""The limit on the size of a request."""

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
"""Maximum size of a body; the longest statement about an event has about 10 kB."""


class Limited:
    """A middleware that refuses bodies of more than MOST_BYTES as they arrive, whatever they declare."""

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
