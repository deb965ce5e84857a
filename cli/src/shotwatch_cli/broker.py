"""The broker as a subscriber or a monitoring client uses it; services use shotwatch_common.bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueueIterator
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity
from pydantic import ValidationError

from shotwatch_cli.failures import Failure
from shotwatch_cli.output import stderr
from shotwatch_common.broker_connection import connection_to
from shotwatch_common.tolerant_frames import undecodable
from shotwatch_common.topology import Topology
from shotwatch_shots.event import AnomalyEvent

_PREFETCH = 100
_ANSWER_S = 5.0
_LOST = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)
_DOCTOR = "`shotwatch doctor` shows which server is unavailable and what to do"
_DECLARE = "run `python -m shotwatch_operations.broker` with the account `setup`"


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The number of messages and of consumers of a queue."""

    name: str
    messages: int
    consumers: int


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """Open a connection to the broker for the duration of the context.

    Raises:
        Failure: the broker did not answer, or refused the login.
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
    """Return the depth of a queue, or None if the queue does not exist."""
    async with connection.channel() as channel:
        try:
            found = await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return None
        counts = found.declaration_result
        return QueueDepth(queue, counts.message_count or 0, counts.consumer_count or 0)


class EventStream:
    """The stream of anomaly events, read over successive connections.

    The first subscription begins with the next event that is published. A later one, after the connection was
    lost, begins with the event after the last one that was read. If none was read, it begins with the first
    event that was published after the first subscription, by the clock of this machine.
    """

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = url
        self._name = topology.events.name
        self._from: int | datetime | None = None

    @asynccontextmanager
    async def subscription(self) -> AsyncIterator[AsyncIterator[AnomalyEvent]]:
        """Yield the events that are published after the context is entered.

        Raises:
            Failure: the broker cannot be reached, refused the subscription, or closed the connection.
        """
        async with connected(self._url) as connection:
            messages = await self._consume(connection)
            try:
                yield self._events(messages)
            finally:
                with suppress(*_LOST):
                    await messages.close()

    async def _consume(self, connection: AbstractConnection) -> AbstractQueueIterator:
        started = datetime.now(UTC)
        try:
            async with asyncio.timeout(_ANSWER_S):
                channel = await connection.channel()
                await channel.set_qos(prefetch_count=_PREFETCH)
                queue = await channel.get_queue(self._name, ensure=False)
                messages = queue.iterator(arguments={"x-stream-offset": self._from or "next"})
                await messages.consume()
        except ChannelNotFoundEntity as error:
            raise Failure(f"the broker has no queue {self._name}", _DECLARE) from error
        except _LOST as error:
            raise Failure(f"the broker did not accept the subscription: {error!r}", _DOCTOR) from error
        self._from = self._from or started
        return messages

    async def _events(self, messages: AbstractQueueIterator) -> AsyncIterator[AnomalyEvent]:
        with suppress(*_LOST):
            async for message in messages:
                event = _event(message)
                # A different key means that the sender had no right to publish this event.
                if event is not None and message.routing_key == event.routing_key:
                    yield event
                self._from = self._offset_after(message)
                await message.ack()
        raise Failure("the broker closed the connection")

    def _offset_after(self, message: AbstractIncomingMessage) -> int | datetime | None:
        """Return where to go on after a message: at the next one, if the message's own offset is unknown."""
        offset = _offset(message)
        if offset is None:
            return self._from + 1 if isinstance(self._from, int) else self._from
        return offset + 1


def _event(message: AbstractIncomingMessage) -> AnomalyEvent | None:
    """Return the event of a message; None, with a warning, if this program cannot read it."""
    try:
        return AnomalyEvent.model_validate_json(message.body)
    except ValidationError:
        which = _offset(message) or "without a readable offset"
        stderr.print(f"message {which} of the stream is not an anomaly event that this version can read")
        return None


def _offset(message: AbstractIncomingMessage) -> int | None:
    """Return the offset of a message, which RabbitMQ set; None if its headers cannot be decoded."""
    if undecodable(message.headers) is not None:
        return None
    offset = message.headers["x-stream-offset"]
    assert isinstance(offset, int)
    return offset
