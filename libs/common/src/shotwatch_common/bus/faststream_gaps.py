"""What FastStream 0.7 lacks, see ADR 28.

Each part uses only public interfaces, of FastStream and of the two libraries below it, aio-pika and aiormq.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import aiormq
from aio_pika import IncomingMessage, RobustQueue
from aio_pika.abc import AbstractRobustChannel
from faststream import StreamMessage

_TRACE_HEADERS = frozenset({"traceparent", "tracestate", "baggage"})


class Consumption:
    """The state of a queue's consumer: whether the broker delivers the queue's messages to this process.

    FastStream knows whether its connection is open, but not whether its consumers still exist
    (https://github.com/ag2ai/faststream/issues/2758). The broker may cancel a consumer while the connection
    stays open, for example because its queue was deleted. aio-pika does not report that either; aiormq
    removes the consumer from its channel's consumers (https://github.com/mosquito/aiormq/issues/116).
    """

    def __init__(self) -> None:
        self._channel: aiormq.Channel | None = None

    async def follow(self, queue: RobustQueue) -> None:
        """Follow the consumer of this queue through all reconnections.

        The consumer has its own channel. aio-pika replaces the aiormq channel below it on each reconnection.
        """
        channel = cast(AbstractRobustChannel, queue.channel)
        channel.reopen_callbacks.add(self._use)
        await self._use(channel)

    def is_active(self) -> bool:
        """Return whether the channel is open and has a consumer."""
        channel = self._channel
        return channel is not None and not channel.is_closed and bool(channel.consumers)

    async def _use(self, channel: AbstractRobustChannel | None) -> None:
        assert channel is not None
        self._channel = cast(aiormq.Channel, await channel.get_underlay_channel())


def all_active(consumptions: Iterable[Consumption]) -> bool:
    """Return whether all these consumers exist."""
    return all(each.is_active() for each in consumptions)


async def without_invalid_trace_headers(
    message: IncomingMessage,
    parse: Callable[[IncomingMessage], Awaitable[StreamMessage[IncomingMessage]]],
) -> StreamMessage[IncomingMessage]:
    """Parse a message, and remove the trace headers whose value is not text.

    FastStream's telemetry passes them to OpenTelemetry's propagators, which raise an error for a number. That
    happens before any of our middlewares runs, so the message could be neither handled nor dead-lettered.
    """
    parsed = await parse(message)
    parsed.headers = {
        name: value
        for name, value in parsed.headers.items()
        if name not in _TRACE_HEADERS or isinstance(value, str)
    }
    return parsed
