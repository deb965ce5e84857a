"""The headers of the messages between services."""

from faststream.rabbit import RabbitMessage

ATTEMPT_HEADER = "x-shotwatch-attempt"
"""Number of the current attempt to handle the message, from 1."""
REASON_HEADER = "x-shotwatch-reason"
"""Why a message is in a dead-letter queue."""
PUBLISHED_HEADER = "timestamp_in_ms"
"""When a message was first published, epoch ms. RabbitMQ uses the same name when it sets the time itself."""


def attempt_of(message: RabbitMessage) -> int:
    """Return the number of the current attempt, from 1; 1 if the header is missing or invalid."""
    attempt = message.headers.get(ATTEMPT_HEADER, 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


def publication_time_of(message: RabbitMessage) -> int | None:
    """Return when the message was first published (epoch ms); None if the header is missing or invalid."""
    published_at = message.headers.get(PUBLISHED_HEADER)
    return published_at if isinstance(published_at, int) else None
