"""A connection to the broker for one task; the services' own path is shotwatch_common.bus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractConnection
from yarl import URL


@asynccontextmanager
async def connection_to(url: str, timeout_s: float | None = None) -> AsyncIterator[AbstractConnection]:
    """Open a connection, and close it on the way out, also if it failed to open.

    The finalizer of an aio_pika connection that nobody closed starts a task to close it. That fails, with a
    warning, if the garbage collector runs outside of the event loop.

    Raises:
        AMQPError, OSError: the broker refuses the login, or cannot be reached.
        TimeoutError: it does not answer in time.
    """
    connection = aio_pika.Connection(URL(url))
    try:
        await connection.connect(timeout_s)
        yield connection
    finally:
        await connection.close()
