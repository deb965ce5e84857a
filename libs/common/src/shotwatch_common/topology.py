"""Exchanges and queues: what stands in the broker, and how it is put there."""

from aio_pika.abc import AbstractChannel
from faststream.rabbit import ExchangeType, QueueType, RabbitExchange, RabbitQueue

OBJECTS = RabbitExchange("shotwatch.objects", ExchangeType.FANOUT, durable=True)
"""Where the object store's AMQP target publishes its events."""
WORK = RabbitExchange("shotwatch.work", ExchangeType.DIRECT, durable=True)
"""Between the stages; the routing key is the stage that is to work."""
ANOMALIES = RabbitExchange("anomalies", ExchangeType.TOPIC, durable=True)
"""Where operators subscribe."""
EXCHANGES = (OBJECTS, WORK, ANOMALIES)

STAGES = ("ingest", "validate", "aggregate", "features", "inference", "examination", "shadow")
NEXT = {"ingest": "validate", "validate": "aggregate", "aggregate": "features", "features": "inference"}
"""On whose queue a stage puts its work; it rests while that queue is long."""
RETRY_DELAYS_S = (1, 5, 15, *[30] * 18)
"""Pauses before the second, third … attempt; after the last one, some ten minutes, the message is parked."""
_NO_LIMIT = 2**31 - 1


def exchange_of(stage: str) -> RabbitExchange:
    """Where the stage's messages are published."""
    return OBJECTS if stage == "ingest" else WORK


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


def queues_of(stage: str) -> tuple[RabbitQueue, ...]:
    """Every queue of a stage: its own, the parked one, the waiting ones."""
    waiting = (waiting_queue_of(stage, delay) for delay in sorted(set(RETRY_DELAYS_S)))
    return queue_of(stage), parked_queue_of(stage), *waiting


async def declare_topology(channel: AbstractChannel) -> None:
    """Make every exchange, queue and binding that is not there.

    Raises:
        ChannelPreconditionFailed: one is there, and is another than ours.
    """
    for exchange in EXCHANGES:
        await declare_exchange(channel, exchange)
    for stage in STAGES:
        for queue in queues_of(stage):
            await declare_queue(channel, queue)
        own = await channel.get_queue(queue_of(stage).name, ensure=False)
        await own.bind(exchange_of(stage).name, routing_key=stage)


async def declare_exchange(channel: AbstractChannel, exchange: RabbitExchange) -> None:
    await channel.declare_exchange(exchange.name, exchange.type.value, durable=exchange.durable)


async def declare_queue(channel: AbstractChannel, queue: RabbitQueue) -> None:
    await channel.declare_queue(queue.name, durable=queue.durable, arguments=queue.arguments)
