"""A connection to the broker for a single task. Services use shotwatch_common.bus instead."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractConnection
from yarl import URL

import shotwatch_common.tolerant_frames  # noqa: F401  every client of the broker decodes with it


@asynccontextmanager
async def connection_to(url: str, timeout_s: float | None = None) -> AsyncIterator[AbstractConnection]:
    """Open a connection, and close it on exit, even if it failed to open.

    If nobody closes an aio_pika connection, its finalizer starts a task to close it. That fails, with a
    warning, if the garbage collector runs outside the event loop.

    Raises:
        AMQPError, OSError: the broker refused the login, or cannot be reached.
        TimeoutError: the broker did not answer in time.
    """
    connection = aio_pika.Connection(URL(url))
    try:
        await connection.connect(timeout_s)
        yield connection
    finally:
        await connection.close()
