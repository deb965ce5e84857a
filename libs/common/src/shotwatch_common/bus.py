"""The message bus: the one place that knows the broker.

Every stage has a queue of its own. A message is acknowledged only after its handler returned and all that it
published was confirmed; so it may be handled more than once, and every handler must bear that.

What a handler raises decides where the message goes:
- `Retry`: to a waiting queue that gives it back after a while; parked after the last attempt;
- `Reject` and everything else: to the stage's parked queue, with the reason in its headers.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage
from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware
from faststream.rabbit.subscriber import RabbitSubscriber
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel, ValidationError

from shotwatch_common import metrics
from shotwatch_common.contracts import AnomalyEvent, StageMessage
from shotwatch_common.errors import Reject, Retry
from shotwatch_common.pulses import epoch_now
from shotwatch_common.telemetry import Log
from shotwatch_common.vocabulary import Settlement

Parked = Callable[[bytes, str], Awaitable[None]]

OBJECTS = RabbitExchange("shotwatch.objects", ExchangeType.FANOUT, durable=True)
"""Where the object store's AMQP target publishes its events."""
WORK = RabbitExchange("shotwatch.work", ExchangeType.DIRECT, durable=True)
"""Between the stages; the routing key is the stage that is to work."""
ANOMALIES = RabbitExchange("anomalies", ExchangeType.TOPIC, durable=True)
"""Where operators subscribe."""

STAGES = ("ingest", "validate", "aggregate", "features", "inference", "examination", "shadow")
RETRY_DELAYS_S = (1, 5, 15, 30, 30, 30)
"""Pauses before the second, third … attempt; after the last one the message is parked."""
ATTEMPT_HEADER = "x-shotwatch-attempt"
REASON_HEADER = "x-shotwatch-reason"
PUBLISHED_HEADER = "timestamp_in_ms"
"""When a message was first published, epoch ms: RabbitMQ's own name, which it can be told to set."""
_NO_LIMIT = 2**31 - 1
_BROKER_AWAY = (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a stage wants: each message of its queue, checked against the contract, handed to the handler."""

    stage: str
    contract: type[StageMessage] | None
    """None hands over the raw bytes."""
    handle: Callable[[Any], Awaitable[None]]
    prefetch: int


def queue_of(stage: str) -> RabbitQueue:
    return RabbitQueue(f"shotwatch.{stage}", queue_type=QueueType.QUORUM, durable=True, routing_key=stage)


def parked_queue_of(stage: str) -> RabbitQueue:
    """A queue without consumers. Looking at a message takes it and gives it back, which newer brokers count
    as a failed delivery: by their usual limit, the twentieth look would throw it away."""
    return RabbitQueue(
        f"shotwatch.{stage}.parked",
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={"x-delivery-limit": _NO_LIMIT},
    )


def waiting_queue_of(stage: str, delay_s: int) -> RabbitQueue:
    """A queue without consumers: what lies in it for `delay_s` goes back to the stage's own queue."""
    return RabbitQueue(
        f"shotwatch.{stage}.retry.{delay_s}s",
        queue_type=QueueType.QUORUM,
        durable=True,
        arguments={
            "x-message-ttl": delay_s * 1000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue_of(stage).name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


class Bus:
    """Publishes with confirms, consumes with acknowledgements after the work is done."""

    def __init__(
        self,
        url: str,
        tracer_provider: TracerProvider,
        log: Log,
        on_parked: Parked,
        transient: tuple[type[Exception], ...] = (),
    ) -> None:
        """`transient`: other libraries' errors that count as Retry; `on_parked` hears of what is parked."""
        self._broker = RabbitBroker(
            url,
            default_channel=Channel(on_return_raises=True),
            middlewares=[RabbitTelemetryMiddleware(tracer_provider=tracer_provider)],
            graceful_timeout=30,
            reconnect_interval=1.0,
            logger=None,
        )
        self._log = log
        self._on_parked = on_parked
        self._transient: tuple[type[Exception], ...] = (Retry, *transient)

    async def connect(self) -> None:
        """Connect and declare every queue and exchange, so that no stage publishes into the void."""
        await self._broker.connect()
        await self._declare_topology()

    async def start(self) -> None:
        """Begin to consume."""
        await self._broker.start()

    async def stop(self) -> None:
        """Finish what is in flight, then disconnect."""
        await self._broker.stop()

    async def ready(self) -> bool:
        return await self._broker.ping(timeout=2)

    def subscribe(self, subscription: Subscription) -> None:
        """Hand each message of the stage's queue to the handler; settle it by what the handler raises."""

        async def on_message(message: RabbitMessage) -> None:
            await self._settle(subscription, message)

        exchange = OBJECTS if subscription.stage == "ingest" else WORK
        subscriber = self._broker.subscriber(
            queue_of(subscription.stage),
            exchange,
            channel=Channel(prefetch_count=subscription.prefetch, on_return_raises=True),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            decoder=_undecoded,
        )
        subscriber(on_message)
        metrics.CONSUMERS.labels(subscription.stage).set_function(lambda: _consumes(subscriber))

    async def send(self, stage: str, message: BaseModel | bytes) -> None:
        """Publish to a stage's queue: persistent, confirmed, an error when it cannot be routed."""
        exchange = OBJECTS if stage == "ingest" else WORK
        headers = {PUBLISHED_HEADER: epoch_now()}
        await self._publish(message, exchange=exchange, routing_key=stage, headers=headers)

    async def announce(self, event: AnomalyEvent) -> None:
        """Publish an anomaly event; nobody need be listening."""
        await self._publish(
            event,
            exchange=ANOMALIES,
            routing_key=event.routing_key,
            mandatory=False,
            message_id=event.id,
            content_type="application/cloudevents+json",
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
            await subscription.handle(_decoded(subscription, message.body))
        except self._transient as error:
            metrics.attempt_failed(stage, Settlement.RETRY, error)
            return await self._retry(stage, message, error)
        except Reject as error:
            metrics.attempt_failed(stage, Settlement.REJECT, error)
            await self._park(stage, message, str(error))
            return Settlement.REJECT
        except Exception as error:  # noqa: BLE001 - the edge of the process: a bug parks its message, loudly
            metrics.attempt_failed(stage, Settlement.BUG, error)
            self._log.exception("bug", stage=stage, attempt=_attempt(message))
            await self._park(stage, message, f"bug: {error!r}")
            return Settlement.BUG
        return Settlement.DONE

    async def _retry(self, stage: str, message: RabbitMessage, error: Exception) -> Settlement:
        attempt = _attempt(message)
        if attempt > len(RETRY_DELAYS_S):
            await self._park(stage, message, f"gave up after {attempt} attempts: {error}")
            return Settlement.GAVE_UP
        delay = RETRY_DELAYS_S[attempt - 1]
        self._log.warning("retry", stage=stage, attempt=attempt, delay_s=delay, why=str(error))
        headers = {**_first_published(message), ATTEMPT_HEADER: attempt + 1}
        await self._publish(message.body, routing_key=waiting_queue_of(stage, delay).name, headers=headers)
        return Settlement.RETRY

    async def _park(self, stage: str, message: RabbitMessage, reason: str) -> None:
        self._log.error("parked", stage=stage, reason=reason)
        headers = {ATTEMPT_HEADER: _attempt(message), REASON_HEADER: reason[:1000]}
        await self._publish(message.body, routing_key=parked_queue_of(stage).name, headers=headers)
        await self._on_parked(message.body, reason)

    async def _declare_topology(self) -> None:
        for exchange in (OBJECTS, WORK, ANOMALIES):
            await self._broker.declare_exchange(exchange)
        for stage in STAGES:
            source = await self._broker.declare_exchange(OBJECTS if stage == "ingest" else WORK)
            queue = await self._broker.declare_queue(queue_of(stage))
            await queue.bind(source, routing_key=stage)
            await self._broker.declare_queue(parked_queue_of(stage))
            for delay in sorted(set(RETRY_DELAYS_S)):
                await self._broker.declare_queue(waiting_queue_of(stage, delay))


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


def _attempt(message: RabbitMessage) -> int:
    attempt = message.headers.get(ATTEMPT_HEADER, 1)
    return attempt if isinstance(attempt, int) else 1


def _first_published(message: RabbitMessage) -> dict[str, Any]:
    return {name: value for name, value in message.headers.items() if name == PUBLISHED_HEADER}


def _consumes(subscriber: RabbitSubscriber) -> bool:
    """Whether the broker sends messages here now; it may cancel a consumer on its own."""
    queue, tag = subscriber._queue_obj, subscriber._consumer_tag
    channel = queue.channel._channel if queue else None  # type: ignore[attr-defined]
    return channel is not None and not channel.channel.is_closed and tag in channel.channel.consumers


async def _undecoded(message: RabbitMessage) -> bytes:
    return message.body
