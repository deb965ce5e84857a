"""The message bus. This package is the only one that knows the broker.

Each stage has its own queue. A stage through which every shot passes also has an express queue, for small
messages (`shotwatch_shots.message.SMALL`). Each of the two has its own consumer and its own limit of messages
in work, so neither waits for the other (ADR 36). A message that comes again, after a delay or from the
dead-letter queue, takes the stage's own queue.

A message is acknowledged only after its handler has returned and the broker has
confirmed everything that the handler published. A message may therefore be handled more than once, and every
handler must allow for that.

The exception that a handler raises decides what happens to the message:

- `Retry`: it goes to a waiting queue, which returns it after a delay. After the last attempt it goes to the
  stage's dead-letter queue.
- `Reject` and any other exception: it goes to the stage's dead-letter queue, with the reason in its headers.

A message is *held* (kept unacknowledged in this process) while handling it would be useless. That is while
the database or the store does not answer (a failed attempt does not count then), and while the queue of the
next stage is long. Meanwhile the stage takes no other messages, its own queue grows, and the stage before it
pauses, too.

The modules:

- `publisher` publishes messages, with confirms.
- `consumer` passes messages to handlers and settles them.
- `back_pressure` pauses a stage while the queue of the next one is long.
- `watchdog` ends a process whose consumers are lost.
- `queues` queries the broker about its queues.
- `spans` names spans.
- `faststream_gaps` provides what FastStream lacks.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from faststream.rabbit import Channel, RabbitBroker
from opentelemetry.trace import TracerProvider

from shotwatch_common import metrics
from shotwatch_common.broker_connection import connection_to
from shotwatch_common.bus.back_pressure import BackPressure, HeldMessages
from shotwatch_common.bus.consumer import OnDeadLetter as OnDeadLetter
from shotwatch_common.bus.consumer import ServersAnswer as ServersAnswer
from shotwatch_common.bus.consumer import SettlementContext, router_of
from shotwatch_common.bus.consumer import Subscription as Subscription
from shotwatch_common.bus.errors import BROKER_UNAVAILABLE
from shotwatch_common.bus.errors import ConsumersLost as ConsumersLost
from shotwatch_common.bus.faststream_gaps import Consumption, all_active
from shotwatch_common.bus.headers import ATTEMPT_HEADER as ATTEMPT_HEADER
from shotwatch_common.bus.headers import PUBLISHED_HEADER as PUBLISHED_HEADER
from shotwatch_common.bus.headers import REASON_HEADER as REASON_HEADER
from shotwatch_common.bus.publisher import Publisher
from shotwatch_common.bus.queues import REQUEST_TIMEOUT_S, QueueInspector
from shotwatch_common.bus.spans import spans_of_publishing
from shotwatch_common.bus.watchdog import Watchdog
from shotwatch_common.telemetry import Log
from shotwatch_common.topology import Topology
from shotwatch_shots.errors import Retry
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.message import StageMessage

_POLL_INTERVAL_S = 5.0
_READY_TIMEOUT_S = 2.0
"""Timeout for the readiness check while a connection is being re-established, in seconds."""


class MessageBus(Protocol):
    """The part of the bus that a service uses while it works. `Bus` is the bus of a broker."""

    async def ready(self) -> bool:
        """Return whether the broker answers and every stage is consumed."""
        ...

    async def room(self, stage: str, express: bool = False) -> int:
        """Return how many more messages may wait for a stage; negative if there are already too many."""
        ...

    async def under_way(self, *stages: str) -> bool:
        """Return whether messages of these stages wait for a handler, now or after a delay."""
        ...

    async def send(self, stage: str, message: StageMessage | bytes, express: bool = False) -> None:
        """Publish a persistent message to a stage, and wait for the broker's confirmation."""
        ...

    async def announce(self, event: AnomalyEvent) -> None:
        """Publish an anomaly event to the stream of events."""
        ...


class Bus:
    """A service's connection to the broker."""

    def __init__(
        self,
        url: str,
        topology: Topology,
        tracer_provider: TracerProvider,
        log: Log,
        on_dead_letter: OnDeadLetter,
        servers_answer: ServersAnswer,
        transient: tuple[type[Exception], ...] = (),
        drain_seconds: float = 30.0,
        longest_queue: int = 500,
    ) -> None:
        """Prepare a connection.

        `on_dead_letter` is called for each message that goes to a dead-letter queue. `transient` lists errors
        of other libraries that count as Retry. `drain_seconds` is how long `stop` waits for the messages that
        are being handled. A stage pauses while more than `longest_queue` messages wait for the next stage.
        """
        self._url = url
        self._topology = topology
        self._broker = RabbitBroker(
            url,
            default_channel=Channel(on_return_raises=True),
            middlewares=[spans_of_publishing(tracer_provider)],
            graceful_timeout=drain_seconds,
            reconnect_interval=1.0,
            logger=None,
        )
        self._publisher = Publisher(self._broker, topology)
        self._queues = QueueInspector(topology)
        self._held = HeldMessages()
        self._back_pressure = BackPressure(self._queues, self._held, log, longest_queue)
        self._consumptions: dict[str, Sequence[Consumption]] = {}
        self._watchdog = Watchdog(self._queues, self._consumptions)
        self._settlement = SettlementContext(
            topology,
            self._publisher,
            self._back_pressure,
            self._held,
            on_dead_letter,
            servers_answer,
            (Retry, *transient),
            tracer_provider,
            log,
        )
        self._stopping = False

    async def connect(self) -> None:
        """Connect to the broker."""
        self._queues.use(await self._broker.connect())

    async def check_topology(self) -> None:
        """Check that every exchange and queue exists, so that no published message is lost.

        Raises:
            Retry: some are missing, or the broker does not answer.
        """
        try:
            async with connection_to(self._url, REQUEST_TIMEOUT_S) as connection:
                missing = await self._topology.missing(connection)
        except (*BROKER_UNAVAILABLE, OSError) as error:
            raise Retry(f"the broker does not answer: {error!r}") from error
        if missing:
            raise Retry(
                f"the broker has no {', '.join(missing)}: run `python -m shotwatch_operations.broker` "
                "with the account `setup`"
            )

    def subscribe(self, subscription: Subscription) -> None:
        """Pass each message of the stage's queues to the handler, once `start` has been called."""
        stage = subscription.stage
        queues = self._topology.consumed_queues_of(stage)
        for queue in queues:
            self._broker.include_router(router_of(subscription, queue, self._settlement))
        self._back_pressure.add(stage)
        self._consumptions[stage] = consumptions = [Consumption() for _ in queues]
        metrics.CONSUMERS.labels(stage).set_function(lambda: all_active(consumptions))

    async def start(self) -> None:
        """Start consuming."""
        await self._broker.start()
        for stage, consumptions in self._consumptions.items():
            queues = self._topology.consumed_queues_of(stage)
            for consumption, queue in zip(consumptions, queues, strict=True):
                # FastStream returns the object with which the subscriber consumes, on its own channel.
                await consumption.follow(await self._broker.declare_queue(queue))

    async def stop(self) -> None:
        """Finish the messages that are being handled, and disconnect.

        The broker delivers held messages to another process.
        """
        self._stopping = True
        self._held.release()
        self._queues.use(None)
        await self._broker.stop()

    async def ready(self) -> bool:
        """Return whether the broker answers and every stage is consumed; False once `stop` was called."""
        if self._stopping or not self._watchdog.all_consumed:
            return False
        return await self._broker.ping(_READY_TIMEOUT_S)

    async def watch(self) -> None:
        """Update back-pressure and check the consumers, periodically and without end.

        Raises:
            ConsumersLost: a consumer, or a queue of its stage, was missing for about 20 s.
        """
        while True:
            await asyncio.sleep(_POLL_INTERVAL_S)
            await self._back_pressure.update()
            await self._watchdog.check()

    async def room(self, stage: str, express: bool = False) -> int:
        """Return how many more messages may wait for a stage; negative if there are already too many.

        `express`: how many more may wait in the stage's express queue.

        Raises:
            Retry: the broker did not answer.
        """
        return await self._back_pressure.room(stage, express)

    async def under_way(self, *stages: str) -> bool:
        """Return whether messages of these stages wait for a handler, now or after a delay.

        Raises:
            Retry: the broker did not answer.
        """
        return await self._queues.any_waiting(stages)

    async def send(self, stage: str, message: StageMessage | bytes, express: bool = False) -> None:
        """Publish a persistent message to a stage, and wait for the broker's confirmation.

        A small message takes the stage's express queue, and so do bytes if `express`.

        Raises:
            Retry: the broker did not accept it, or the queue does not exist.
        """
        await self._publisher.send(stage, message, express)

    async def announce(self, event: AnomalyEvent) -> None:
        """Publish an anomaly event to the stream of events.

        Raises:
            Retry: the broker did not accept it, or the stream does not exist.
        """
        await self._publisher.announce(event)
