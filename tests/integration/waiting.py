"""Waiting for what a running system will do."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

DEADLINE_S = 90.0


async def until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = DEADLINE_S) -> None:
    """Wait until it holds; fail naming what did not happen."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"after {seconds:g} s: not {what}")
