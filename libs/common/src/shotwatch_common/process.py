"""The life cycle of a service's process: settings, context, health, signals, and an orderly end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from opentelemetry.trace import Tracer

from shotwatch_common import metrics, rights
from shotwatch_common.archive import TRANSIENT, Archive
from shotwatch_common.bus import Bus, ConsumersLost, MessageBus, Subscription
from shotwatch_common.facility_file import load_facility
from shotwatch_common.health import Facts, serve_health
from shotwatch_common.settings import BrokerSettings, SettingsError
from shotwatch_common.store import ObjectStore
from shotwatch_common.telemetry import Log, configure_traces, fatal_errors_logged
from shotwatch_common.topology import Topology
from shotwatch_shots.errors import Retry
from shotwatch_shots.facility import Facility, FacilityError

AnySettings = TypeVar("AnySettings", bound=BrokerSettings)
Background = Callable[[], Coroutine[object, None, None]]
PREFETCH = 4
"""How many messages a replica handles concurrently for each queue, in a stage that computes."""
PREFETCH_WAITING = 8
"""The same in a stage that mostly waits for servers: the files of a single shot pass beside each other."""
_ASK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class ServiceContext(Generic[AnySettings]):
    """The connections of a service to the outside world (servers, telemetry), with its configuration."""

    settings: AnySettings
    facility: Facility
    bus: MessageBus
    store: ObjectStore
    archive: Archive
    tracer: Tracer
    log: Log

    async def servers_answer(self) -> bool:
        """Return whether the database, the store and the broker answer."""
        return (
            await self.archive.ready()
            and await self.store.ready(self.settings.block_bucket)
            and await self.bus.ready()
        )


@dataclass(frozen=True, slots=True)
class Service:
    """The work of a service: the queues that it consumes, its startup checks and its background work."""

    subscriptions: tuple[Subscription, ...] = ()
    background: tuple[Background, ...] = ()
    facts: Facts = dict
    """Facts that /ready reports besides readiness."""
    startup_checks: tuple[Background, ...] = ()
    """Startup checks: they must pass before the first message is taken. They wait for unavailable servers."""


Assemble = Callable[[ServiceContext[AnySettings], AsyncExitStack], Awaitable[Service]]


def run(name: str, settings: type[AnySettings], assemble: Assemble[AnySettings]) -> None:
    """Run a service until SIGTERM or SIGINT.

    Log one line and exit with status 1 if the service is set up incorrectly, has lost its consumers, or fails
    for any other reason. Its supervisor should restart it.
    """
    with fatal_errors_logged(name, SettingsError, FacilityError, ConsumersLost) as log:
        asyncio.run(_live(name, settings.load(), assemble, log))


async def _live(name: str, settings: AnySettings, assemble: Assemble[AnySettings], log: Log) -> None:
    metrics.publish_build(name)
    async with service_context(name, settings, log) as (context, bus), AsyncExitStack() as resources:
        service = await assemble(context, resources)
        consuming = asyncio.Event()

        async def ready() -> bool:
            return consuming.is_set() and await bus.ready()

        await resources.enter_async_context(serve_health(settings, ready, service.facts))
        for check in (bus.check_topology, *service.startup_checks):
            await _until_passed(check, context.log)
        for subscription in service.subscriptions:
            bus.subscribe(subscription)
        await bus.start()
        consuming.set()
        context.log.info("ready")
        await _until_stopped((bus.watch, *service.background))
        context.log.info("stopping")
        await bus.stop()


@asynccontextmanager
async def service_context(
    name: str, settings: AnySettings, log: Log
) -> AsyncIterator[tuple[ServiceContext[AnySettings], Bus]]:
    """Open the connections of a service; on exit, close them and export the last spans."""
    facility = load_facility(settings.facility)
    provider = configure_traces(name, settings.traces_folder)
    async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
        url = settings.broker_url.get_secret_value()

        async def servers_answer() -> bool:
            return await archive.ready() and await store.ready(settings.block_bucket)

        bus = Bus(
            url,
            Topology(settings.prefix),
            provider,
            log,
            archive.dead_letter,
            servers_answer,
            transient=TRANSIENT,
            drain_seconds=settings.drain_seconds,
        )
        await bus.connect()
        await _until_passed(partial(_require_indexes, archive, rights.DATABASE[name]), log)
        try:
            yield (
                ServiceContext(
                    settings, facility, bus, store, archive, provider.get_tracer("shotwatch"), log
                ),
                bus,
            )
        finally:
            await bus.stop()
            provider.shutdown()


async def _require_indexes(archive: Archive, collections: Container[str]) -> None:
    """Check that the collections have their indexes.

    Raises:
        Retry: indexes are missing; the message names the command that creates them.
    """
    if missing := await archive.missing_indexes(collections):
        made_by = "`python -m shotwatch_operations.database` makes them"
        raise Retry(f"the database lacks indexes ({'; '.join(missing)}): {made_by}")


async def _until_stopped(background: tuple[Background, ...]) -> None:
    """Wait for a signal, or for a background task to fail; either ends the process."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    tasks = [asyncio.create_task(task()) for task in background]
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, *tasks):
        task.cancel()
    for finished in done:
        finished.result()


async def _until_passed(check: Background, log: Log) -> None:
    """Repeat a check until it succeeds; log each new reason for failure once."""
    why = ""
    while True:
        try:
            return await check()
        except (Retry, *TRANSIENT) as error:
            if str(error) != why:
                why = str(error)
                log.warning("no message is taken yet", why=why)
        await asyncio.sleep(_ASK_AGAIN_S)
