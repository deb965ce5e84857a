"""The message bus: the one place that knows the broker.

Every stage has a queue of its own. A message is acknowledged only after its handler returned and all that it
published was confirmed; so it may be handled more than once, and every handler must bear that.

What a handler raises decides where the message goes:
- `Retry`: to a waiting queue that gives it back after a while; parked after the last attempt;
- `Reject` and everything else: to the stage's parked queue, with the reason in its headers.

A message is *held*, in the service's hands, while nothing could come of it: as long as the database or the
store does not answer (an attempt that failed for that does not count), and as long as the queue of the next
stage is long. Meanwhile the stage takes no others, its own queue grows, and the stage before it rests, too.

A service that no longer consumes a queue of its own is of no use, however alive it looks: `Bus.watch` ends
it, so that its supervisor starts it anew.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from aio_pika.abc import AbstractQueue, AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity
from faststream import AckPolicy, StreamMessage
from faststream.opentelemetry.middleware import TelemetryMiddleware
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage
from faststream.rabbit.opentelemetry.provider import RabbitTelemetrySettingsProvider
from faststream.rabbit.response import RabbitPublishCommand
from faststream.rabbit.subscriber import RabbitSubscriber
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel, ValidationError

from shotwatch_common import metrics
from shotwatch_common.broker_connection import connection_to
from shotwatch_common.contracts import AnomalyEvent, StageMessage
from shotwatch_common.errors import Reject, Retry
from shotwatch_common.pulses import epoch_now
from shotwatch_common.telemetry import Log, attempting, fail_current_span
from shotwatch_common.topology import NEXT, RETRY_DELAYS_S, STORE_EXCHANGE, Topology
from shotwatch_common.vocabulary import HeldFor, Settlement

Parked = Callable[[str, bytes, str], Awaitable[None]]
"""Stage, body, reason."""
Act = Callable[[], Awaitable[Any]]
Answer = Callable[[], Awaitable[bool]]
"""Whether the servers answer that handlers need."""

ATTEMPT_HEADER = "x-shotwatch-attempt"
REASON_HEADER = "x-shotwatch-reason"
PUBLISHED_HEADER = "timestamp_in_ms"
"""When a message was first published, epoch ms: RabbitMQ's own name, which it can be told to set."""
_DEFAULT_EXCHANGE = "default"
"""Its name in spans; in the broker it has none."""
_BROKER_AWAY = (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError)
_INSIST_S = 2.0
"""Pause before a message that could not be set aside is set aside again, and between looks for a server."""
_UNREADY_AFTER_S = 2.0
"""So long a connection that is being made again is waited for."""
_WATCH_S = 5.0
_SPEECHLESS_S = 60.0
"""So long the broker's answer is waited for: giving up a question costs the connection it was asked on."""
_RECOVERY_S = 15.0
"""So long the consumers of a broker that answers may be gone: the client library restores most by itself."""


class ConsumersLost(Exception):
    """The broker answers, and does not give us the messages that are ours."""


class _ByExchange(RabbitTelemetrySettingsProvider):
    """Names spans after the exchange, of which there are few; the routing key is an attribute of the span.

    Collectors make a histogram of each name, and an anomaly's routing key has thousands of values.
    """

    __slots__ = ()

    def get_consume_destination_name(self, msg: StreamMessage[Any]) -> str:
        exchange: str | None = msg.raw_message.exchange
        return exchange or _DEFAULT_EXCHANGE

    def get_publish_destination_name(self, cmd: RabbitPublishCommand) -> str:
        return cmd.exchange.name or _DEFAULT_EXCHANGE


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a stage wants: each message of its queue, checked against the contract, handed to the handler."""

    stage: str
    contract: type[StageMessage] | None
    """None hands over the raw bytes."""
    handle: Callable[[Any], Awaitable[None]]
    prefetch: int


class Bus:
    """Publishes with confirms, consumes with acknowledgements after the work is done."""

    def __init__(
        self,
        url: str,
        topology: Topology,
        tracer_provider: TracerProvider,
        log: Log,
        on_parked: Parked,
        servers_answer: Answer,
        transient: tuple[type[Exception], ...] = (),
        drain_seconds: float = 30.0,
        longest_queue: int = 500,
    ) -> None:
        """`transient`: other libraries' errors that count as Retry; `on_parked` hears of what is parked.

        `drain_seconds`: so long `stop` waits for messages that are being handled. `longest_queue`: a stage
        rests while more messages wait for the next one, until half of them are gone.
        """
        self._url = url
        self._topology = topology
        self._broker = RabbitBroker(
            url,
            default_channel=Channel(on_return_raises=True),
            middlewares=[
                TelemetryMiddleware(
                    settings_provider_factory=lambda _: _ByExchange(), tracer_provider=tracer_provider
                )
            ],
            graceful_timeout=drain_seconds,
            reconnect_interval=1.0,
            logger=None,
        )
        self._log = log
        self._on_parked = on_parked
        self._servers_answer = servers_answer
        self._transient: tuple[type[Exception], ...] = (Retry, *transient)
        self._longest_queue = longest_queue
        self._way_is_free: dict[str, asyncio.Event] = {}
        self._held: set[asyncio.Task[Any]] = set()
        self._consumers: dict[str, RabbitSubscriber] = {}
        self._lost: Sequence[str] = ()
        self._connection: AbstractRobustConnection | None = None

    async def connect(self) -> None:
        """Connect to the broker."""
        self._connection = await self._broker.connect()

    async def check_topology(self) -> None:
        """Check that every exchange and queue is there, so that no message is published into the void.

        Raises:
            Retry: some are missing, or the broker does not answer.
        """
        try:
            async with connection_to(self._url, _SPEECHLESS_S) as connection:
                missing = await self._topology.missing(connection)
        except (*_BROKER_AWAY, OSError) as error:
            raise Retry(f"the broker does not answer: {error!r}") from error
        if missing:
            raise Retry(
                f"the broker has no {', '.join(missing)}: run `python -m shotwatch_common.topology` with the "
                "account `setup`"
            )

    async def start(self) -> None:
        """Begin to consume."""
        await self._broker.start()

    async def stop(self) -> None:
        """Finish what is in flight, then disconnect; what is held comes again to somebody else."""
        for task in self._held:
            task.cancel()
        self._connection = None
        await self._broker.stop()

    async def ready(self) -> bool:
        """Whether the broker answers, and `watch` last found all consumed; not once we were told to stop."""
        if self._connection is None or self._lost:
            return False
        try:
            await asyncio.wait_for(self._connection.connected.wait(), _UNREADY_AFTER_S)
        except TimeoutError:
            return False
        return True

    async def watch(self) -> None:
        """Return never, as long as all that was subscribed to is consumed or the broker is away.

        Raises:
            ConsumersLost: a consumer, or a queue of its stage, was gone for some 20 s.
        """
        looks = 0
        while True:
            await asyncio.sleep(_WATCH_S)
            await self._look_ahead()
            self._lost = await self._lost_stages()
            looks = looks + 1 if self._lost else 0
            if looks * _WATCH_S > _RECOVERY_S:
                stages = ", ".join(self._lost)
                raise ConsumersLost(f"nothing comes from {stages} any more, though the broker answers")

    async def _lost_stages(self) -> Sequence[str]:
        """The stages that were subscribed to and whose consumer or queues are gone, as the broker says."""
        try:
            return [stage for stage in self._consumers if not await self._comes(stage)]
        except (Retry, *_BROKER_AWAY):  # it says nothing
            return ()

    async def _look_ahead(self) -> None:
        """Close the way of a stage to the next one whose queue is long, and open it when half is gone."""
        for stage, way_is_free in self._way_is_free.items():
            try:
                room = await self.room(NEXT[stage])
            except Retry:
                continue
            if room < 0 and way_is_free.is_set():
                self._log.warning("rests", stage=stage, why=f"the queue of {NEXT[stage]} is long")
                way_is_free.clear()
            elif room >= self._longest_queue / 2:
                way_is_free.set()

    async def room(self, stage: str) -> int:
        """How many more messages may wait for a stage; negative when it is too many already.

        Raises:
            Retry: the broker does not say.
        """
        (queue,) = await self._told([self._topology.queue_of(stage).name])
        return self._longest_queue - (queue.declaration_result.message_count or 0)

    async def under_way(self, *stages: str) -> bool:
        """Whether messages of these stages wait for a handler, now or after a pause.

        Raises:
            Retry: the broker does not say.
        """
        names = [
            queue.name
            for stage in stages
            for queue in self._topology.queues_of(stage)
            if queue != self._topology.parked_queue_of(stage)
        ]
        return any(queue.declaration_result.message_count for queue in await self._told(names))

    async def _told(self, queues: Sequence[str]) -> list[AbstractQueue]:
        try:
            return await self._declared(queues)
        except _BROKER_AWAY as error:
            raise Retry(f"the broker does not tell its queues: {error!r}") from error

    async def _declared(self, queues: Sequence[str]) -> list[AbstractQueue]:
        async with asyncio.timeout(_SPEECHLESS_S), self._channel() as channel:
            return [await channel.declare_queue(name, passive=True, robust=False) for name in queues]

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractRobustChannel]:
        """A channel to ask on.

        Raises:
            Retry: there is no connection now.
        """
        if self._connection is None:
            raise Retry("not connected to the broker")
        try:
            channel = self._connection.channel(publisher_confirms=False)
            await channel.initialize()
        except RuntimeError as error:  # what the client library says while it connects again
            raise Retry(f"not connected to the broker: {error}") from error
        async with channel:
            yield channel

    async def _comes(self, stage: str) -> bool:
        """Whether the broker has all queues of a stage and a consumer for its own, and we are one."""
        try:
            own, *_ = await self._declared([queue.name for queue in self._topology.queues_of(stage)])
        except ChannelNotFoundEntity:
            return False
        return bool(own.declaration_result.consumer_count) and _consumes(self._consumers[stage])

    def subscribe(self, subscription: Subscription) -> None:
        """Hand each message of the stage's queue to the handler; settle it by what the handler raises."""

        async def on_message(message: RabbitMessage) -> None:
            with attempting(_attempt(message)):
                await self._settle(subscription, message)

        subscriber = self._broker.subscriber(
            self._topology.queue_of(subscription.stage),
            self._topology.work,
            channel=Channel(prefetch_count=subscription.prefetch, on_return_raises=True),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            decoder=_undecoded,
        )
        subscriber(on_message)
        metrics.CONSUMERS.labels(subscription.stage).set_function(lambda: _consumes(subscriber))
        for why in HeldFor:
            metrics.MESSAGES_HELD.labels(subscription.stage, why)
        self._consumers[subscription.stage] = subscriber
        if subscription.stage in NEXT:
            self._way_is_free[subscription.stage] = free = asyncio.Event()
            free.set()

    async def send(self, stage: str, message: BaseModel | bytes) -> None:
        """Publish to a stage's queue: persistent, confirmed, an error when it cannot be routed."""
        headers = {PUBLISHED_HEADER: epoch_now()}
        await self._work(message, self._topology.queue_of(stage), headers)

    async def announce(self, event: AnomalyEvent) -> None:
        """Publish an anomaly event: persistent, confirmed, an error when there is no stream to keep it."""
        await self._publish(
            event,
            exchange=self._topology.anomalies,
            routing_key=event.routing_key,
            message_id=event.id,
            content_type="application/cloudevents+json",
        )

    async def _work(self, message: BaseModel | bytes, queue: RabbitQueue, headers: Mapping[str, Any]) -> None:
        await self._publish(
            message, exchange=self._topology.work, routing_key=queue.routing(), headers=dict(headers)
        )

    async def _publish(
        self, message: BaseModel | bytes, content_type: str = "application/json", **where: Any
    ) -> None:
        body = message if isinstance(message, bytes) else message.model_dump_json(by_alias=True).encode()
        try:
            await self._broker.publish(body, persist=True, content_type=content_type, **where)
        except _BROKER_AWAY as error:
            raise Retry(f"the broker does not take messages: {error!r}") from error

    async def _settle(self, subscription: Subscription, message: RabbitMessage) -> None:
        stage = subscription.stage
        await self._until_the_way_is_free(stage)
        published_at = message.headers.get(PUBLISHED_HEADER)
        if isinstance(published_at, int):
            metrics.message_waited(stage, published_at)
        with metrics.message_in_work(stage):
            outcome = await self._outcome(subscription, message)
        await message.ack()
        metrics.MESSAGES.labels(stage, outcome).inc()

    async def _outcome(self, subscription: Subscription, message: RabbitMessage) -> Settlement:
        """Handle a message, and put it where it belongs when that failed."""
        stage = subscription.stage
        try:
            _require_own_way(self._topology, stage, message)
            await subscription.handle(_decoded(subscription, message.body))
        except self._transient as error:
            _tell_of_failure(stage, Settlement.RETRY, error)
            if await self._servers_answer():
                return await self._retry(stage, message, error)
            await self._until_servers_answer(stage, message, error)
            return await self._outcome(subscription, message)
        except Reject as error:
            _tell_of_failure(stage, Settlement.REJECT, error)
            await self._park(stage, message, str(error))
            return Settlement.REJECT
        except Exception as error:  # noqa: BLE001 - the edge of the process: a bug parks its message, loudly
            _tell_of_failure(stage, Settlement.BUG, error)
            self._log.exception("bug", stage=stage, attempt=_attempt(message))
            await self._park(stage, message, f"bug: {error!r}")
            return Settlement.BUG
        return Settlement.DONE

    async def _until_the_way_is_free(self, stage: str) -> None:
        way_is_free = self._way_is_free.get(stage)
        if way_is_free is not None and not way_is_free.is_set():
            with self._holding(stage, HeldFor.NEXT_STAGE):
                await way_is_free.wait()

    async def _until_servers_answer(self, stage: str, message: RabbitMessage, error: Exception) -> None:
        self._log.warning("held: a server does not answer", stage=stage, why=str(error))
        with self._holding(stage, HeldFor.SERVER):
            while not await self._servers_answer():
                if message.raw_message.channel.is_closed:
                    raise error
                await asyncio.sleep(_INSIST_S)

    @contextmanager
    def _holding(self, stage: str, why: HeldFor) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._held.add(task)
        try:
            with metrics.MESSAGES_HELD.labels(stage, why).track_inprogress():
                yield
        finally:
            self._held.discard(task)

    async def _retry(self, stage: str, message: RabbitMessage, error: Exception) -> Settlement:
        attempt = _attempt(message)
        if attempt > len(RETRY_DELAYS_S):
            await self._park(stage, message, f"gave up after {attempt} attempts: {error}")
            return Settlement.GAVE_UP
        delay = RETRY_DELAYS_S[attempt - 1]
        self._log.warning("retry", stage=stage, attempt=attempt, delay_s=delay, why=str(error))
        headers = {**_first_published(message), ATTEMPT_HEADER: attempt + 1}
        where = self._topology.waiting_queue_of(stage, delay)
        await self._insist(message, lambda: self._work(message.body, where, headers))
        return Settlement.RETRY

    async def _park(self, stage: str, message: RabbitMessage, reason: str) -> None:
        self._log.error("parked", stage=stage, reason=reason)
        headers = {ATTEMPT_HEADER: _attempt(message), REASON_HEADER: reason[:1000]}
        where = self._topology.parked_queue_of(stage)
        await self._insist(message, lambda: self._work(message.body, where, headers))
        await self._insist(message, lambda: self._on_parked(stage, message.body, reason))

    async def _insist(self, message: RabbitMessage, act: Act) -> None:
        """Do it until it succeeds: a message that is neither set aside nor given back would come never again.

        Once its channel is closed the broker gives the message to somebody anyway: then there is no need.
        """
        while True:
            try:
                await act()
                return
            except self._transient as error:
                if message.raw_message.channel.is_closed:
                    raise
                self._log.warning("cannot be set aside yet", why=str(error))
            await asyncio.sleep(_INSIST_S)


def _require_own_way(topology: Topology, stage: str, message: RabbitMessage) -> None:
    """Return if a message came by the routing key of the stage, for which its sender has the right.

    The headers CC and BCC send it by further keys, which RabbitMQ before 4.1 does not compare with rights
    (https://github.com/rabbitmq/rabbitmq-server/pull/12553). The message itself has only its first key.

    Raises:
        Reject: it came by another way.
    """
    raw, own = message.raw_message, topology.queue_of(stage)
    ways: set[tuple[str | None, str | None]] = {(topology.work.name, own.routing()), ("", own.name)}
    if stage == "ingest":
        ways |= {(STORE_EXCHANGE, topology.objects.name), (topology.objects.name, raw.routing_key)}
    if (raw.exchange, raw.routing_key) not in ways:
        raise Reject("wrong_message", f"came by exchange {raw.exchange!r} with key {raw.routing_key!r}")
    waiting = {queue.name: queue.routing() for queue in topology.queues_of(stage)}
    stays: Any = raw.headers.get("x-death") or []
    for stay in stays:  # in a waiting queue
        if stay["routing-keys"] != [waiting.get(stay["queue"])]:
            raise Reject("wrong_message", f"came to {stay['queue']!r} with keys {stay['routing-keys']}")


def _decoded(subscription: Subscription, body: bytes) -> StageMessage | bytes:
    contract = subscription.contract
    if contract is None:
        return body
    try:
        message = contract.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Reject("wrong_message", f"not a {contract.__name__}: {where}: {first['msg']}") from error
    metrics.BATCH_RECORDS.labels(subscription.stage).observe(message.batch_size)
    return message


def _tell_of_failure(stage: str, class_: Settlement, error: Exception) -> None:
    metrics.attempt_failed(stage, class_, error)
    fail_current_span(error)


def _attempt(message: RabbitMessage) -> int:
    attempt = message.headers.get(ATTEMPT_HEADER, 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


def _first_published(message: RabbitMessage) -> dict[str, Any]:
    return {name: value for name, value in message.headers.items() if name == PUBLISHED_HEADER}


def _consumes(subscriber: RabbitSubscriber) -> bool:
    """Whether the broker sends messages here now; it may cancel a consumer on its own."""
    queue, tag = subscriber._queue_obj, subscriber._consumer_tag
    channel = queue.channel._channel if queue else None  # type: ignore[attr-defined]
    return channel is not None and not channel.channel.is_closed and tag in channel.channel.consumers


async def _undecoded(message: RabbitMessage) -> bytes:
    return message.body
