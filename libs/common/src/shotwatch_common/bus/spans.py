"""The spans of published and consumed messages, and their names.

A collector makes a histogram for each name, so there must be few names. A published message is named after
its exchange, a consumed one after its queue. The routing key is an attribute of the span, because the routing
keys of anomalies have thousands of values.
"""

from aio_pika import IncomingMessage
from faststream import StreamMessage
from faststream.opentelemetry import TelemetryMiddleware, TelemetrySettingsProvider
from faststream.rabbit import RabbitPublishCommand
from opentelemetry.trace import TracerProvider

_DEFAULT_EXCHANGE = "default"
"""Name of the default exchange in spans; in AMQP its name is empty."""


def spans_of_publishing(tracer_provider: TracerProvider) -> TelemetryMiddleware[RabbitPublishCommand]:
    """Return the middleware that creates a span for each published message, named `EXCHANGE publish`."""
    names = SpanNames()
    return TelemetryMiddleware(
        settings_provider_factory=lambda consumed: names if consumed is None else None,
        tracer_provider=tracer_provider,
    )


def spans_of_consuming(
    queue: str, tracer_provider: TracerProvider
) -> TelemetryMiddleware[RabbitPublishCommand]:
    """Return the middleware that creates a span for each message consumed from a queue: `QUEUE process`."""
    names = SpanNames(queue)
    return TelemetryMiddleware(settings_provider_factory=lambda _: names, tracer_provider=tracer_provider)


class SpanNames(TelemetrySettingsProvider[IncomingMessage, RabbitPublishCommand]):
    """Names and attributes of spans for FastStream; the attributes follow OpenTelemetry's conventions."""

    __slots__ = ("_queue", "messaging_system")

    def __init__(self, queue: str = "") -> None:
        """Name the spans of consumed messages after `queue`."""
        self.messaging_system = "rabbitmq"
        self._queue = queue

    def get_publish_destination_name(self, cmd: RabbitPublishCommand) -> str:
        return cmd.exchange.name or _DEFAULT_EXCHANGE

    def get_publish_attrs_from_cmd(self, cmd: RabbitPublishCommand) -> dict[str, object]:
        return {
            "messaging.system": self.messaging_system,
            "messaging.destination.name": cmd.exchange.name,
            "messaging.rabbitmq.destination.routing_key": cmd.destination,
            "messaging.message.conversation_id": cmd.correlation_id,
        }

    def get_consume_destination_name(self, msg: StreamMessage[IncomingMessage]) -> str:  # noqa: ARG002
        return self._queue

    def get_consume_attrs_from_message(self, msg: StreamMessage[IncomingMessage]) -> dict[str, object]:
        raw = msg.raw_message
        return {
            "messaging.system": self.messaging_system,
            "messaging.message.id": msg.message_id,
            "messaging.message.conversation_id": msg.correlation_id,
            "messaging.message.payload_size_bytes": len(msg.body),
            "messaging.destination_publish.name": raw.exchange,
            "messaging.rabbitmq.destination.routing_key": raw.routing_key,
            "messaging.rabbitmq.message.delivery_tag": raw.delivery_tag,
        }
