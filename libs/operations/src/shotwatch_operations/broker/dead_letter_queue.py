"""Dead-lettered messages at the broker: read them, requeue them, discard them.

Besides the bus, only this module knows the broker. It works on queues that no service consumes.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from shotwatch_common.bus import ATTEMPT_HEADER, PUBLISHED_HEADER, REASON_HEADER
from shotwatch_common.clock import epoch_now
from shotwatch_common.tolerant_frames import UNDECODABLE_HEADER
from shotwatch_common.topology import Topology
from shotwatch_shots.identity import message_id
from shotwatch_shots.pulses import epoch_ms

_RETURNED_S = 2.0
_BROKERS_REASON_HEADERS = ("x-last-death-reason", "x-first-death-reason")
"""The broker's reason for a message that it dead-lettered itself, newer headers first: `delivery_limit`."""
_OF_THE_FAILURE = (ATTEMPT_HEADER, REASON_HEADER, UNDECODABLE_HEADER)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead-lettered message of a stage."""

    id: str
    """Derived from stage and body: equal messages have the same id."""
    stage: str
    reason: str
    attempts: int
    dead_lettered_at: int
    """Epoch ms."""
    trace_id: str
    """Trace of the failure; empty if the message has no trace."""
    body: bytes


class HeldMessage:
    """A dead-lettered message that nobody else can take while its queue is being read."""

    def __init__(
        self, stage: str, channel: AbstractChannel, delivery: AbstractIncomingMessage, topology: Topology
    ) -> None:
        self._channel = channel
        self._topology = topology
        self._delivery = delivery
        self.message = _dead_letter(stage, delivery)

    async def send_back(self) -> None:
        """Publish the message to its stage's queue as if it were new.

        Then remove it from the dead-letter queue. A crash in between leaves it in both queues: it may be
        handled twice, but is never lost.
        """
        exchange = await self._channel.get_exchange(self._topology.work.name)
        key = self._topology.queue_of(self.message.stage).routing()
        await exchange.publish(_as_new(self._delivery), routing_key=key, mandatory=True)
        await self._delivery.ack()

    async def discard(self) -> None:
        """Remove the message permanently."""
        await self._delivery.ack()


async def hold_dead_letters(
    connection: AbstractConnection, stage: str, topology: Topology
) -> AsyncIterator[HeldMessage]:
    """Yield the messages that are in a stage's dead-letter queue now, one by one, oldest first.

    Those that are neither requeued nor discarded are back in the queue when the iteration ends.
    """
    async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
        try:
            queue = await channel.declare_queue(topology.dead_letter_queue_of(stage).name, passive=True)
        except ChannelNotFoundEntity:
            return
        deliveries: list[AbstractIncomingMessage] = []
        try:
            for _ in range(queue.declaration_result.message_count or 0):
                delivery = await queue.get(fail=False)
                if delivery is None:
                    return
                deliveries.append(delivery)
                yield HeldMessage(stage, channel, delivery, topology)
        finally:
            await _give_back(channel, queue.name, [each for each in deliveries if not each.processed])


async def _give_back(channel: AbstractChannel, queue: str, kept: Sequence[AbstractIncomingMessage]) -> None:
    """Return messages to their queue, and wait until the queue has them again.

    The broker does not confirm this. Somebody else may take a message meanwhile, so the wait has a limit.
    """
    if not kept:
        return
    await kept[-1].nack(multiple=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(_RETURNED_S):
            while await _ready(channel, queue) < len(kept):
                await asyncio.sleep(0.01)


async def _ready(channel: AbstractChannel, queue: str) -> int:
    found = await channel.declare_queue(queue, passive=True)
    return found.declaration_result.message_count or 0


def _dead_letter(stage: str, delivery: AbstractIncomingMessage) -> DeadLetter:
    attempts = delivery.headers.get(ATTEMPT_HEADER)
    return DeadLetter(
        id=message_id(stage, delivery.body),
        stage=stage,
        reason=_reason(delivery.headers),
        attempts=attempts if isinstance(attempts, int) else 1,
        dead_lettered_at=epoch_ms(delivery.timestamp) if delivery.timestamp else 0,
        trace_id=_trace_id(str(delivery.headers.get("traceparent", ""))),
        body=delivery.body,
    )


def _reason(headers: Mapping[str, object]) -> str:
    given = (headers.get(name) for name in (REASON_HEADER, *_BROKERS_REASON_HEADERS, UNDECODABLE_HEADER))
    return str(next(filter(None, given), ""))


def _trace_id(traceparent: str) -> str:
    """Return the second of the four parts of a W3C traceparent; empty if it is invalid."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""


def _as_new(delivery: AbstractIncomingMessage) -> Message:
    """Return the message without the headers of its failure; it stays in its trace."""
    headers = {name: value for name, value in delivery.headers.items() if name not in _OF_THE_FAILURE}
    return Message(
        delivery.body,
        headers={**headers, PUBLISHED_HEADER: epoch_now()},
        content_type=delivery.content_type,
        correlation_id=delivery.correlation_id,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
