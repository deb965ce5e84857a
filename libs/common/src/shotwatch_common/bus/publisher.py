"""Publishing of persistent messages, with confirms."""

from aio_pika.abc import HeadersType
from faststream.rabbit import RabbitBroker, RabbitExchange, RabbitQueue
from pydantic import BaseModel

from shotwatch_common.bus.errors import BROKER_UNAVAILABLE
from shotwatch_common.bus.headers import PUBLISHED_HEADER
from shotwatch_common.clock import epoch_now
from shotwatch_common.topology import Topology
from shotwatch_shots.errors import Retry
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.message import StageMessage


class Publisher:
    """Publishes messages. Each call returns after the broker has confirmed the message.

    The channel must have been opened with `on_return_raises`: only then does a message that no queue takes
    raise an error.
    """

    def __init__(self, broker: RabbitBroker, topology: Topology) -> None:
        self._broker = broker
        self._topology = topology

    async def send(self, stage: str, message: StageMessage | bytes, express: bool = False) -> None:
        """Publish a new message to a stage: to its express queue if the message is small, or `express`.

        Raises:
            Retry: the broker did not accept it, or the queue does not exist.
        """
        queue = self._topology.queue_for(
            stage, express or (isinstance(message, StageMessage) and message.is_small)
        )
        await self.put(queue, message, {PUBLISHED_HEADER: epoch_now()})

    async def put(self, queue: RabbitQueue, message: StageMessage | bytes, headers: HeadersType) -> None:
        """Publish a message with these headers to a queue.

        Raises:
            Retry: the broker did not accept it, or the queue does not exist.
        """
        await self._publish(
            message, exchange=self._topology.work, routing_key=queue.routing(), headers=headers
        )

    async def announce(self, event: AnomalyEvent) -> None:
        """Publish an anomaly event to the stream of events.

        Raises:
            Retry: the broker did not accept it, or the stream does not exist.
        """
        await self._publish(
            event,
            exchange=self._topology.anomalies,
            routing_key=event.routing_key,
            message_id=event.id,
            content_type="application/cloudevents+json",
        )

    async def _publish(
        self,
        message: BaseModel | bytes,
        exchange: RabbitExchange,
        routing_key: str,
        headers: HeadersType | None = None,
        message_id: str | None = None,
        content_type: str = "application/json",
    ) -> None:
        body = message if isinstance(message, bytes) else message.model_dump_json(by_alias=True).encode()
        try:
            await self._broker.publish(
                body,
                exchange=exchange,
                routing_key=routing_key,
                headers=headers,
                message_id=message_id,
                content_type=content_type,
                persist=True,
            )
        except BROKER_UNAVAILABLE as error:
            raise Retry(f"the broker did not take the message: {error!r}") from error
