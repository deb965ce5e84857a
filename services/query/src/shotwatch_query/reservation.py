"""Reservation of the memory for a route's response."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends

from shotwatch_query.access.guard import Known
from shotwatch_query.limits.memory import BYTES_PER_ROW, BYTES_PER_VALUE, SHARE_BYTES, Memory
from shotwatch_query.sources import From


class Reservation:
    """The memory that one response holds until it is sent."""

    def __init__(self, memory: Memory, caller: str, held: AsyncExitStack) -> None:
        self._memory = memory
        self._caller = caller
        self._held = held

    async def rows(self, count: int) -> None:
        """Reserve the memory for `count` rows of a listing. Raises as `Memory.reserved` does."""
        await self.bytes(count * BYTES_PER_ROW)

    async def values(self, count: int) -> None:
        """Reserve the memory for columns with `count` values in total. Raises as `Memory.reserved` does."""
        await self.bytes(count * BYTES_PER_VALUE)

    async def bytes(self, size: int) -> None:
        """Reserve `size` bytes, at most a caller's share. Raises as `Memory.reserved` does."""
        await self._held.enter_async_context(self._memory.reserved(self._caller, min(size, SHARE_BYTES)))


async def _reservation(sources: From, caller: Known) -> AsyncIterator[Reservation]:
    async with AsyncExitStack() as held:
        yield Reservation(sources.limits.memory, caller.name, held)


Room = Annotated[Reservation, Depends(_reservation)]
"""The parameter by which a route reserves memory for its response, until the response is sent."""
