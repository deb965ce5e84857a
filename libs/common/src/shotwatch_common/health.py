"""/live and /ready over HTTP, for supervisors and orchestrators; /metrics for Prometheus.

Whoever reaches the port may ask, as often as they like. Therefore a check runs at most once in RECENT_S,
however many ask, and there are at most MOST_CONNECTIONS, of which the oldest is closed for a new one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from aiohttp import hdrs, web
from prometheus_client import REGISTRY, exposition

from shotwatch_common.settings import Settings

RECENT_S = 0.1
"""For how long an answer is given again, in seconds: a supervisor asks so often while a service starts."""
MOST_CONNECTIONS = 32
_BACKLOG = 32
_OPENMETRICS = "application/openmetrics-text"
Ready = Callable[[], Awaitable[bool]]
Facts = Callable[[], dict[str, str]]
T = TypeVar("T")


@asynccontextmanager
async def serve_health(settings: Settings, ready: Ready, facts: Facts = dict) -> AsyncIterator[None]:
    """Serve /live while the process lives, /ready with facts (503 while it cannot work), and /metrics."""
    if settings.health_port == 0:  # no port is configured
        yield
        return
    app = web.Application()
    app.add_routes(
        [
            web.get("/live", _live),
            web.get("/ready", _answer(_Recent(ready), facts)),
            web.get("/metrics", _metrics()),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    assert runner.server is not None
    try:
        listening = await asyncio.get_running_loop().create_server(
            partial(_accept, runner.server),
            settings.health_host,
            settings.health_port,
            backlog=_BACKLOG,
            reuse_port=settings.reuse_port,
        )
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()


class _Recent(Generic[T]):
    """The result of a function, which is called at most once in RECENT_S."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._result: tuple[T, float] | None = None

    async def get(self) -> T:
        """Return the result. Raise what the function raises."""
        async with self._asking:
            if self._result is None or monotonic() - self._result[1] > RECENT_S:
                self._result = await self._ask(), monotonic()
            return self._result[0]


def _accept(server: web.Server) -> asyncio.Protocol:
    """Return the protocol of a new connection, and close the oldest connections beyond MOST_CONNECTIONS.

    Whoever opens many cannot keep others out in this way: an answer takes milliseconds.
    """
    for oldest in server.connections[: -MOST_CONNECTIONS + 1]:
        if oldest.transport is not None:
            oldest.transport.abort()
    return server()


async def _live(_request: web.Request) -> web.Response:
    return web.Response(text="live")


def _answer(ready: _Recent[bool], facts: Facts) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        if await ready.get():
            return web.json_response({"ready": True, **facts()})
        return web.json_response({"ready": False, **facts()}, status=503)

    return answer


def _metrics() -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler of /metrics: OpenMetrics, which has exemplars, for those who accept it, or text."""
    text, openmetrics = _Exposition(""), _Exposition(_OPENMETRICS)

    async def answer(request: web.Request) -> web.Response:
        chosen = openmetrics if _OPENMETRICS in request.headers.get(hdrs.ACCEPT, "") else text
        return web.Response(body=await chosen.get(), headers={hdrs.CONTENT_TYPE: chosen.content_type})

    return answer


class _Exposition(_Recent[bytes]):
    """The metrics of this process in the format that a client accepts."""

    def __init__(self, accepted: str) -> None:
        write, self.content_type = exposition.choose_encoder(accepted)

        async def written() -> bytes:
            return write(REGISTRY)

        super().__init__(written)
