"""What goes wrong at the broker."""

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

BROKER_UNAVAILABLE = (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError)
"""The client libraries' errors after which the same request may succeed."""


class ConsumersLost(Exception):
    """The broker answers, but does not deliver the messages of a queue that this process consumes."""


class Returned(Exception):
    """The channel of a message is closed: the broker delivers the message again, to any consumer."""
