"""The broker as a subscriber and a watcher see it; the services' own path is shotwatch_common.bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from aio_pika.abc import AbstractConnection, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity

from shotwatch_cli.failures import Failure
from shotwatch_common.broker_connection import connection_to
from shotwatch_common.contracts import AnomalyEvent
from shotwatch_common.topology import Topology

_PREFETCH = 100
_ANSWER_S = 5.0
_LOST = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)
_DOCTOR = "`shotwatch doctor` says what is away and what to do"


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How many messages wait in a queue, and how many consumers it has."""

    name: str
    messages: int
    consumers: int


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """A connection to the broker.

    Raises:
        Failure: it does not answer, or lets us not in.
    """
    async with AsyncExitStack() as held:
        try:
            connection = await held.enter_async_context(connection_to(url, _ANSWER_S))
        except _LOST as error:
            where = urlsplit(url)
            raise Failure(
                f"the broker at {where.hostname}:{where.port} does not answer: {error}",
                _DOCTOR,
            ) from error
        yield connection


async def depth_of(connection: AbstractConnection, queue: str) -> QueueDepth | None:
    """How full a queue is; None when there is no such queue."""
    async with connection.channel() as channel:
        try:
            found = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return None
        counts = found.declaration_result
        return QueueDepth(queue, counts.message_count or 0, counts.consumer_count or 0)


async def _listening(connection: AbstractConnection, binding_key: str, topology: Topology) -> AbstractQueue:
    try:
        async with asyncio.timeout(_ANSWER_S):
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=_PREFETCH)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(topology.anomalies.name, binding_key)
    except _LOST as error:
        raise Failure(f"the broker does not let us listen: {error!r}", _DOCTOR) from error
    return queue


@asynccontextmanager
async def subscription(
    url: str, binding_key: str, topology: Topology
) -> AsyncIterator[AsyncIterator[AnomalyEvent]]:
    """Anomaly events as they are raised, from the moment this is entered; the queue goes when it is left.

    Raises:
        Failure: the broker is away, or goes away, or does not let us listen.
    """
    async with connected(url) as connection:
        queue = await _listening(connection, binding_key, topology)

        async def events() -> AsyncIterator[AnomalyEvent]:
            with suppress(*_LOST):
                async with queue.iterator(no_ack=True) as messages:
                    async for message in messages:
                        event = AnomalyEvent.model_validate_json(message.body)
                        # else it came by its headers CC or BCC, past the rights of its sender
                        if message.routing_key == event.routing_key:
                            yield event
            raise Failure("the broker closed the connection")

        yield events()
