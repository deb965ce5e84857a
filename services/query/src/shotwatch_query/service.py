"""query: the REST API, the stream of new events, and the operators' page.

It reads the database, the object store and the model registry, and does not use the broker. It writes only
people's feedback on events, the searches that they save, and the audit of requested changes. Callers present
an API key or a token; ROUTES lists the scope that each route requires.

Delivery, for each requested change: make it, which is one write; store its line in the audit; respond. Last,
a verdict on an event is counted in the record of its model. If the service dies before it responds, the
change may have been made, with or without its line in the audit; a caller who repeats the request makes it
once. What is missing from a model's counts is counted with its next verdict.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import Depends, FastAPI

from shotwatch_common import metrics
from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.health import serve_health
from shotwatch_common.listening import listener
from shotwatch_common.past_frames import FrameReader
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.settings import SettingsError
from shotwatch_common.store import ObjectStore
from shotwatch_common.telemetry import Log, configure_traces, fatal_errors_logged
from shotwatch_query.access import Access, login
from shotwatch_query.access.audit import Audited
from shotwatch_query.access.guard import count_failed, requires
from shotwatch_query.access.refusals import Refusals
from shotwatch_query.answers import InPieces
from shotwatch_query.blocks import BlockReader
from shotwatch_query.connections import Connections
from shotwatch_query.headers import Guarded
from shotwatch_query.limits import Limits
from shotwatch_query.limits.bodies import Limited
from shotwatch_query.live import Live
from shotwatch_query.openapi import describe
from shotwatch_query.overview import Overview
from shotwatch_query.parameters import refuse_repeated
from shotwatch_query.problems import explain_errors
from shotwatch_query.routes import (
    audit,
    blocks,
    caller,
    devices,
    docs,
    events,
    exports,
    facility,
    features,
    feedback,
    frames,
    health,
    history,
    ledger,
    models,
    notebooks,
    page,
    places,
    raw_files,
    reports,
    searches,
    series,
    shots,
    tables,
)
from shotwatch_query.settings import QuerySettings
from shotwatch_query.shot_tables import ShotTables
from shotwatch_query.sources import ApiSources
from shotwatch_shots.facility import FacilityError
from shotwatch_shots.vocabulary import Scope

PREFIX = docs.PREFIX
READING = (
    shots,
    exports,
    notebooks,
    tables,
    searches,
    devices,
    blocks,
    features,
    reports,
    series,
    history,
    frames,
    events,
    feedback,
    ledger,
    raw_files,
    models,
    facility,
    places,
    caller,
    health,
)
ROUTES = (
    *((resource.router, Scope.READ) for resource in READING),
    (feedback.giving, Scope.LABEL),
    (searches.saving, Scope.LABEL),
    (audit.router, Scope.ADMIN),
)
"""The routes, and the scope that each requires."""
PUBLIC = (login.router, page.router, docs.router)
"""The routes that are open to everybody."""


def create_app(sources: ApiSources) -> FastAPI:
    """Return the REST API over these sources. FastAPI itself traces each request, in its caller's trace."""
    app = FastAPI(openapi_url=None, telemetry={"operation_spans": False})
    app.state.sources = sources
    for router, scope in ROUTES:
        app.include_router(router, prefix=PREFIX, dependencies=[requires(scope), Depends(refuse_repeated)])
    for router in PUBLIC:
        app.include_router(router)
    app.add_middleware(InPieces)
    app.add_middleware(Limited)
    app.add_middleware(Audited, prefix=PREFIX)
    explain_errors(app, count_failed)
    describe(app)
    return app


def run() -> None:
    """Run the service until SIGTERM or SIGINT; on any error, log a line and exit with status 1."""
    with fatal_errors_logged("query", SettingsError, FacilityError) as log:
        asyncio.run(_live(QuerySettings.load(), log))


async def _live(settings: QuerySettings, log: Log) -> None:
    metrics.publish_build("query")
    tracing = configure_traces("query", settings.traces_folder)
    async with open_sources(settings) as sources:
        server = _server(sources)

        async def ready() -> bool:
            return server.started and await sources.archive.ready()

        async with serve_health(settings, ready):
            log.info("starting", host=settings.query_host, port=settings.query_port)
            await _until_stopped(server, _sockets(settings), sources.live)
            log.info("stopping")
    tracing.shutdown()


@asynccontextmanager
async def open_sources(settings: QuerySettings) -> AsyncIterator[ApiSources]:
    """Open what the routes read from, and close it on exit."""
    facility_file = load_facility(settings.facility)
    async with (
        ObjectStore.of(settings) as store,
        Archive.of(settings) as archive,
        ModelRegistry.of(settings) as registry,
        Access.of(settings) as access,
        Live.of(archive.events, settings.query_streams_per_caller) as live,
        Refusals.of(archive.audit) as refusals,
        ShotTables.of(archive, store, settings.table_bucket, facility_file) as shot_tables,
    ):
        reading = asyncio.Lock()  # whole blocks are large: one is read at a time, besides those in the cache
        blocks_read = BlockReader(store, reading)
        frames_read = FrameReader(archive, store, facility_file, reading)
        overview = Overview(facility_file, archive)
        yield ApiSources(
            settings,
            facility_file,
            archive,
            store,
            blocks_read,
            frames_read,
            registry,
            access,
            live,
            overview,
            Limits.of(settings),
            refusals,
            shot_tables,
        )


def _server(sources: ApiSources) -> uvicorn.Server:
    settings = sources.settings
    return uvicorn.Server(
        uvicorn.Config(
            Guarded(create_app(sources)),
            settings.query_host,
            settings.query_port,
            http=Connections.of(settings).protocol(),
            ws="none",  # a connection that becomes a WebSocket would stay counted when it is closed
            proxy_headers=bool(settings.query_proxies),
            forwarded_allow_ips=settings.query_proxies or "",
            server_header=False,
            log_config=None,
            access_log=False,
        )
    )


def _sockets(settings: QuerySettings) -> list[socket.socket] | None:
    """Return sockets for uvicorn, which cannot set SO_REUSEPORT itself; None if it should open its own."""
    return [listener(settings.query_host, settings.query_port)] if settings.reuse_port else None


async def _until_stopped(server: uvicorn.Server, sockets: list[socket.socket] | None, live: Live) -> None:
    """Serve until a signal arrives.

    uvicorn raises the signal again at the end; the handler installed here makes this harmless.
    """

    def stop() -> None:
        server.should_exit = True
        live.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets)
