"""The broker's exchanges and queues: their names, their declaration, and the check that they exist.

The set-up (`python -m shotwatch_operations.broker`) declares them with its own account. Services may not
declare anything; they only check.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from faststream.rabbit import ExchangeType, QueueType, RabbitExchange, RabbitQueue
from faststream.rabbit.schemas.queue import QuorumQueueArgs, StreamQueueArgs

PATH = ("ingest", "validate", "aggregate", "features", "inference")
"""The stages through which every shot passes, in their order. Each has an express queue."""
STAGES = (*PATH, "detail", "shadow")
NEXT = dict(pairwise(PATH))
"""The stage to whose queue a stage publishes; the stage pauses while that queue is long."""
RETRY_DELAYS_S = (1, 5, 15, *[30] * 18)
"""Delays before the second, third … attempt, in seconds.

After the last attempt, about ten minutes after the first, the message is dead-lettered.
"""
STORE_EXCHANGE = "amq.topic"
"""Exchange for the object store's notifications, with the name of `Topology.objects` as routing key.

MinIO declares its exchange before each message. An account that may declare an exchange may also delete it,
unless its name begins with `amq.`: the broker never deletes those.
"""
EVENTS_KEPT: StreamQueueArgs = {
    "x-max-age": "1D",
    "x-max-length-bytes": 4 << 20,
    "x-stream-max-segment-size-bytes": 512 << 10,
}
"""Limits of the stream of events: about 2,000 events of 2 kB.

The broker applies the limits when it starts a new segment file of the stream, and never deletes the file to
which it is writing. So the stream can exceed the limits by one file, and if there are few events, some of
them become older than a day.
"""
_NO_LIMIT = 2**31 - 1
_STREAM_STARTS_S = 60.0
"""Timeout in seconds for the stream of events to become available after a start of the broker."""


@dataclass(frozen=True, slots=True)
class Topology:
    """The exchanges and queues of one system. With another prefix, another system can use the same broker.

    Services publish only to `work` and `anomalies`. Both are topic exchanges, on which the broker checks
    routing keys. Publishing directly to a queue by its name would need the right to write to every queue.
    """

    prefix: str = ""
    """Prefix of every name."""

    @property
    def objects(self) -> RabbitExchange:
        """Return the exchange for the object store's notifications; the store's own is bound to it."""
        return self._exchange("shotwatch.objects", ExchangeType.FANOUT)

    @property
    def work(self) -> RabbitExchange:
        """Return the exchange before all queues; the routing key is the queue's (`validate.dead_letters`)."""
        return self._exchange("shotwatch.work", ExchangeType.TOPIC)

    @property
    def anomalies(self) -> RabbitExchange:
        """Return the exchange to which anomaly events are published."""
        return self._exchange("anomalies", ExchangeType.TOPIC)

    @property
    def events(self) -> RabbitQueue:
        """Return the stream from which operators read anomaly events.

        Any number of consumers can read a stream, each from its own position, and none of them removes
        anything.
        """
        return RabbitQueue(
            f"{self.prefix}anomalies.stream",
            queue_type=QueueType.STREAM,
            durable=True,
            routing_key="#",
            arguments=EVENTS_KEPT,
            declare=False,
        )

    @property
    def exchanges(self) -> tuple[RabbitExchange, ...]:
        return self.objects, self.work, self.anomalies

    @property
    def queues(self) -> tuple[RabbitQueue, ...]:
        """Return every queue of every stage."""
        return tuple(queue for stage in STAGES for queue in self.queues_of(stage))

    def queues_of(self, stage: str) -> tuple[RabbitQueue, ...]:
        """Return every queue of a stage: those that are consumed, and those for failed messages."""
        return *self.consumed_queues_of(stage), *self.queues_of_failed(stage)

    def consumed_queues_of(self, stage: str) -> tuple[RabbitQueue, ...]:
        """Return the queues that the stage's service consumes: the stage's own, and its express queue."""
        own = self.queue_of(stage)
        return (own, self.express_queue_of(stage)) if stage in PATH else (own,)

    def queues_of_failed(self, stage: str) -> tuple[RabbitQueue, ...]:
        """Return the stage's dead-letter queue and its waiting queues."""
        waiting = (self.waiting_queue_of(stage, delay) for delay in sorted(set(RETRY_DELAYS_S)))
        return self.dead_letter_queue_of(stage), *waiting

    def queue_of(self, stage: str) -> RabbitQueue:
        """Return the stage's own queue: of large messages, and of all those that come again."""
        return self._queue(stage)

    def express_queue_of(self, stage: str) -> RabbitQueue:
        """Return the queue for the small messages of a stage of PATH: there, they pass the large ones."""
        return self._queue(f"{stage}.express")

    def queue_for(self, stage: str, express: bool) -> RabbitQueue:
        """Return the express queue of a stage if it is asked for and exists, else the stage's own."""
        return self.express_queue_of(stage) if express and stage in PATH else self.queue_of(stage)

    def dead_letter_queue_of(self, stage: str) -> RabbitQueue:
        """Return the stage's dead-letter queue. It has no consumers.

        Reading a message takes it and returns it, which newer brokers count as a failed delivery. With their
        default limit, the twentieth reading would drop the message; so this queue has no limit.
        """
        return self._queue(f"{stage}.dead_letters", {"x-delivery-limit": _NO_LIMIT})

    def waiting_queue_of(self, stage: str, delay_s: int) -> RabbitQueue:
        """Return the queue that passes its messages to the stage's own queue after `delay_s` seconds."""
        return self._queue(
            f"{stage}.retry.{delay_s}s",
            {
                "x-message-ttl": delay_s * 1000,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.queue_of(stage).name,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        )

    def _exchange(self, name: str, kind: ExchangeType) -> RabbitExchange:
        return RabbitExchange(f"{self.prefix}{name}", kind, durable=True, declare=False)

    def _queue(self, key: str, arguments: QuorumQueueArgs | None = None) -> RabbitQueue:
        return RabbitQueue(
            f"{self.prefix}shotwatch.{key}",
            queue_type=QueueType.QUORUM,
            durable=True,
            routing_key=key,
            arguments=arguments,
            declare=False,
        )

    async def missing(self, connection: AbstractConnection) -> list[str]:
        """Return the names of the exchanges and queues that do not exist. This needs no permission."""
        unchecked = deque[RabbitExchange | RabbitQueue]([*self.exchanges, *self.queues, self.events])
        missing: list[str] = []
        while unchecked:
            async with connection.channel() as channel:
                try:
                    while unchecked:
                        await _find(channel, unchecked[0])
                        unchecked.popleft()
                except ChannelNotFoundEntity:  # this error closes the channel
                    missing.append(unchecked.popleft().name)
        return missing

    async def declare(self, connection: AbstractConnection) -> None:
        """Declare every exchange, queue and binding that does not exist.

        If the exchange between the stages has another type, it is replaced. (It was `direct` before accounts
        had their own rights.) It holds no messages, and services that publish meanwhile get an error and
        retry.

        Raises:
            ChannelPreconditionFailed: a queue or another exchange exists, and differs from ours.
            ChannelAccessRefused: the account may not declare.
            TimeoutError: the stream of events exists and does not start.
        """
        try:
            async with connection.channel() as channel:
                await declare_exchange(channel, self.work)
        except ChannelPreconditionFailed:
            async with connection.channel() as channel:
                await channel.exchange_delete(self.work.name)
                await declare_exchange(channel, self.work)
        async with connection.channel() as channel:
            await declare_exchange(channel, self.objects)
            await declare_exchange(channel, self.anomalies)
            objects = await channel.get_exchange(self.objects.name)
            await objects.bind(STORE_EXCHANGE, routing_key=self.objects.name)
            for each in self.queues:
                queue = await declare_queue(channel, each)
                await queue.bind(self.work.name, routing_key=each.routing())
            await self._bind_objects(channel)
        await self._declare_events(connection)

    async def _bind_objects(self, channel: AbstractChannel) -> None:
        """Bind ingest's express queue to the exchange of the object store's notifications.

        If ingest's own queue is bound to it, as in earlier versions, remove that binding.
        """
        express = await channel.get_queue(self.express_queue_of("ingest").name)
        await express.bind(self.objects.name, routing_key="ingest")
        own = await channel.get_queue(self.queue_of("ingest").name)
        await own.unbind(self.objects.name, routing_key="ingest")

    async def _declare_events(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(_STREAM_STARTS_S):
            while True:
                try:
                    async with connection.channel() as channel:
                        events = await declare_queue(channel, self.events)
                        await events.bind(self.anomalies.name, routing_key=self.events.routing())
                        return
                except ChannelNotFoundEntity:  # the stream has not started yet
                    await asyncio.sleep(0.2)


async def declare_queue(channel: AbstractChannel, queue: RabbitQueue) -> AbstractQueue:
    """Declare a queue.

    Raises:
        ChannelPreconditionFailed: a queue with that name exists, and differs.
    """
    return await channel.declare_queue(queue.name, durable=queue.durable, arguments=queue.arguments)


async def declare_exchange(channel: AbstractChannel, exchange: RabbitExchange) -> None:
    """Declare an exchange.

    Raises:
        ChannelPreconditionFailed: an exchange with that name exists, and differs.
    """
    await channel.declare_exchange(exchange.name, exchange.type.value, durable=exchange.durable)


async def _find(channel: AbstractChannel, which: RabbitExchange | RabbitQueue) -> None:
    """Check that an exchange or a queue exists.

    Raises:
        ChannelNotFoundEntity: it does not exist.
    """
    if isinstance(which, RabbitExchange):
        await channel.get_exchange(which.name, ensure=True)
    else:
        await channel.get_queue(which.name, ensure=True)
