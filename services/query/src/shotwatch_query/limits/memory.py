"""The limit on the memory for responses that are being made, in total and per caller."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shotwatch_query.errors import TooMany, Unavailable

MIB = 2**20
TOTAL_BYTES = 256 * MIB
"""Memory for all responses. The process takes about 270 MiB without any, and has 1 GiB in a deployment."""
SHARE_BYTES = TOTAL_BYTES // 2
"""Memory for one caller: a caller with too large requests leaves half of it to the others."""
LEAST_BYTES = 4 * MIB
"""Minimum for any response that is counted: 64 are made at a time, 32 of one caller."""
BYTES_PER_VALUE = 128
"""Memory per value of a column while it is read, joined and sorted: measured with a million values."""
BYTES_PER_ROW = 16 * 1024
"""Memory per row of a listing: an event with its evidence, as a document, as an object and as JSON."""
WAIT_S = 10.0
MOST_WAITING = 100
MOST_WAITING_OF_CALLER = 20


class Memory:
    """The memory that responses reserve before they are made, and release when they are sent."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._used: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def reserved(self, caller: str, size: int) -> AsyncIterator[None]:
        """Reserve `size` bytes, but at least LEAST_BYTES; wait up to WAIT_S until others release them.

        Raises:
            TooMany: the caller has already reserved too much.
            Unavailable: all callers together have, or too many wait.
        """
        size = max(size, LEAST_BYTES)
        if not self._fits(caller, size):
            await self._wait_for(caller, size)
        self._used[caller] += size
        try:
            yield
        finally:
            self._used[caller] -= size
            self._used += Counter()  # drops callers that use nothing
            self._given_back.set()
            self._given_back = asyncio.Event()

    def _fits(self, caller: str, size: int) -> bool:
        return self._used[caller] + size <= SHARE_BYTES and self._used.total() + size <= TOTAL_BYTES

    async def _wait_for(self, caller: str, size: int) -> None:
        if self._waiting.total() >= MOST_WAITING or self._waiting[caller] >= MOST_WAITING_OF_CALLER:
            raise self._refusal(caller, size)
        self._waiting[caller] += 1
        try:
            async with asyncio.timeout(self._wait_s):
                while not self._fits(caller, size):
                    await self._given_back.wait()
        except TimeoutError:
            raise self._refusal(caller, size) from None
        finally:
            self._waiting[caller] -= 1
            self._waiting += Counter()

    def _refusal(self, caller: str, size: int) -> TooMany | Unavailable:
        if self._used[caller] + size > SHARE_BYTES:
            return TooMany(
                f"{caller} has asked for too many large answers at once: ask for one at a time, or for less",
                self._wait_s,
            )
        return Unavailable("too many large answers are being made for others: ask again later, or for less")
