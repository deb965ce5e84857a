"""/live and /ready over HTTP, for supervisors and orchestrators; /metrics for Prometheus."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from shotwatch_common.settings import Settings

Ready = Callable[[], Awaitable[bool]]
Facts = Callable[[], dict[str, str]]


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
            web.get("/ready", _answer(ready, facts)),
            web.get("/metrics", make_aiohttp_handler()),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(
            runner, settings.health_host, settings.health_port, reuse_port=settings.reuse_port
        ).start()
        yield
    finally:
        await runner.cleanup()


async def _live(_request: web.Request) -> web.Response:
    return web.Response(text="live")


def _answer(ready: Ready, facts: Facts) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        if await ready():
            return web.json_response({"ready": True, **facts()})
        return web.json_response({"ready": False, **facts()}, status=503)

    return answer
