"""Errors of the broker connection."""

from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

BROKER_UNAVAILABLE = (AMQPError, ChannelInvalidStateError, ConnectionError, TimeoutError)
"""The client libraries' errors after which the same request may succeed."""


class ConsumersLost(Exception):
    """The broker answers, but delivers no messages from a queue that this process consumes."""


class Returned(Exception):
    """The channel of a message is closed, so the broker redelivers the message, to any consumer."""
