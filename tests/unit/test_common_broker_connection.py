"""Connections to the broker that fail leave nothing behind."""

import asyncio
import gc
import logging
import sys
from typing import Any

import pytest
from aio_pika.exceptions import AMQPConnectionError

from shotwatch_common.broker_connection import connection_to


async def test_a_connection_that_failed_leaves_no_coroutine_that_nobody_awaits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The collector runs in a thread, as it may at any time: there the connection could start no task."""
    gc.collect()  # connections of earlier tests
    # A line of the log would hold the error, and so the connection.
    caplog.set_level(logging.CRITICAL, "aiormq")
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    gc.disable()
    try:
        try:
            async with connection_to("amqp://127.0.0.1:1/"):
                pass
        except AMQPConnectionError as error:
            error.args = (error,)  # a cycle, which only the collector frees
        await asyncio.to_thread(gc.collect)
    finally:
        gc.enable()
    assert ignored == []
