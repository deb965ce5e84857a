"""The message bus: the one place that knows the broker.

Every stage has a queue of its own. A message is acknowledged only after its handler returned and all that it
published was confirmed; so it may be handled more than once, and every handler must bear that.

What a handler raises decides where the message goes:
- `Retry`: to a waiting queue that gives it back after a while; parked after the last attempt;
- `Reject` and everything else: to the stage's parked queue, with the reason in its headers.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage
from faststream.rabbit.opentelemetry import RabbitTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel, ValidationError

from shotwatch_common.contracts import AnomalyEvent
from shotwatch_common.errors import Reject, Retry
from shotwatch_common.telemetry import Log

Contract = TypeVar("Contract", bound=BaseModel)
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
_NO_LIMIT = 2**31 - 1
_BROKER_AWAY = (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a stage wants: each message of its queue, checked against the contract, handed to the handler."""

    stage: str
    contract: type[BaseModel] | None
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
        self._broker.subscriber(
            queue_of(subscription.stage),
            exchange,
            channel=Channel(prefetch_count=subscription.prefetch, on_return_raises=True),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
            decoder=_undecoded,
        )(on_message)

    async def send(self, stage: str, message: BaseModel | bytes) -> None:
        """Publish to a stage's queue: persistent, confirmed, an error when it cannot be routed."""
        exchange = OBJECTS if stage == "ingest" else WORK
        await self._publish(message, exchange=exchange, routing_key=stage)

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
        try:
            await subscription.handle(_decoded(subscription.contract, message.body))
        except self._transient as error:
            await self._retry(subscription.stage, message, error)
        except Reject as error:
            await self._park(subscription.stage, message, str(error))
        except Exception as error:  # noqa: BLE001 - the edge of the process: a bug parks its message, loudly
            self._log.exception("bug", stage=subscription.stage, attempt=_attempt(message))
            await self._park(subscription.stage, message, f"bug: {error!r}")
        await message.ack()

    async def _retry(self, stage: str, message: RabbitMessage, error: Exception) -> None:
        attempt = _attempt(message)
        if attempt > len(RETRY_DELAYS_S):
            await self._park(stage, message, f"gave up after {attempt} attempts: {error}")
            return
        delay = RETRY_DELAYS_S[attempt - 1]
        self._log.warning("retry", stage=stage, attempt=attempt, delay_s=delay, why=str(error))
        headers = {ATTEMPT_HEADER: attempt + 1}
        await self._publish(message.body, routing_key=waiting_queue_of(stage, delay).name, headers=headers)

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


def _decoded(contract: type[Contract] | None, body: bytes) -> Contract | bytes:
    if contract is None:
        return body
    try:
        return contract.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Reject("wrong_message", f"not a {contract.__name__}: {where}: {first['msg']}") from error


def _attempt(message: RabbitMessage) -> int:
    attempt = message.headers.get(ATTEMPT_HEADER, 1)
    return attempt if isinstance(attempt, int) else 1


async def _undecoded(message: RabbitMessage) -> bytes:
    return message.body
