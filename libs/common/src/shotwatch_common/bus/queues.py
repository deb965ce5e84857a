"""Requests to the broker about its queues."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractQueue, AbstractRobustChannel, AbstractRobustConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from shotwatch_common.bus.errors import BROKER_UNAVAILABLE
from shotwatch_common.topology import Topology
from shotwatch_shots.errors import Retry

REQUEST_TIMEOUT_S = 60.0
"""Timeout for a request to the broker, in seconds. It is long, because a timeout closes the connection."""


class QueueInspector:
    """Queries the number of messages and consumers of the broker's queues.

    Every request uses a channel of its own, because the broker closes the channel when the queue does not
    exist.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._connection: AbstractRobustConnection | None = None

    def use(self, connection: AbstractRobustConnection | None) -> None:
        """Use this connection for requests from now on; None prevents any request."""
        self._connection = connection

    async def length(self, stage: str, express: bool = False) -> int:
        """Return how many messages wait for a stage, in its express queue or in all that are consumed.

        Raises:
            Retry: the broker did not answer.
        """
        consumed = self._topology.consumed_queues_of(stage)
        counted = [self._topology.queue_for(stage, express)] if express else consumed
        found = await self._find([queue.name for queue in counted])
        return sum(queue.declaration_result.message_count or 0 for queue in found)

    async def any_waiting(self, stages: Sequence[str]) -> bool:
        """Return whether messages of these stages wait for a handler, now or after a delay.

        Raises:
            Retry: the broker did not answer.
        """
        names = [
            queue.name
            for stage in stages
            for queue in self._topology.queues_of(stage)
            if queue != self._topology.dead_letter_queue_of(stage)
        ]
        return any(queue.declaration_result.message_count for queue in await self._find(names))

    async def has_consumers(self, stage: str) -> bool:
        """Return whether each consumed queue has a consumer anywhere, and all other queues exist.

        Raises:
            Retry: the broker did not answer.
        """
        try:
            found = await self._find([queue.name for queue in self._topology.queues_of(stage)])
        except Retry as error:
            if isinstance(error.__cause__, ChannelNotFoundEntity):
                return False
            raise
        consumed = found[: len(self._topology.consumed_queues_of(stage))]
        return all(queue.declaration_result.consumer_count for queue in consumed)

    async def _find(self, names: Sequence[str]) -> list[AbstractQueue]:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S), self._channel() as channel:
                return [await channel.declare_queue(name, passive=True, robust=False) for name in names]
        except BROKER_UNAVAILABLE as error:
            raise Retry(f"the broker did not answer for its queues: {error!r}") from error

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractRobustChannel]:
        """Open a channel.

        Raises:
            Retry: there is no connection at present.
        """
        if self._connection is None:
            raise Retry("not connected to the broker")
        try:
            channel = self._connection.channel(publisher_confirms=False)
            await channel.initialize()
        except RuntimeError as error:  # raised by aio-pika while it reconnects
            raise Retry(f"not connected to the broker: {error}") from error
        async with channel:
            yield channel
