"""How a route reserves the memory that its answer takes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends

from shotwatch_query.access.guard import Known
from shotwatch_query.limits.memory import BYTES_PER_ROW, BYTES_PER_VALUE, SHARE_BYTES, Memory
from shotwatch_query.sources import From


class Reservation:
    """What one answer holds of the memory until it is sent."""

    def __init__(self, memory: Memory, caller: str, held: AsyncExitStack) -> None:
        self._memory = memory
        self._caller = caller
        self._held = held

    async def rows(self, count: int) -> None:
        """Reserve what so many rows of a listing take. Raises as `Memory.reserved` does."""
        await self.bytes(count * BYTES_PER_ROW)

    async def values(self, count: int) -> None:
        """Reserve what columns with so many values in all take. Raises as `Memory.reserved` does."""
        await self.bytes(count * BYTES_PER_VALUE)

    async def bytes(self, size: int) -> None:
        """Reserve so many bytes, at most a caller's share. Raises as `Memory.reserved` does."""
        await self._held.enter_async_context(self._memory.reserved(self._caller, min(size, SHARE_BYTES)))


async def _reservation(sources: From, caller: Known) -> AsyncIterator[Reservation]:
    async with AsyncExitStack() as held:
        yield Reservation(sources.limits.memory, caller.name, held)


Room = Annotated[Reservation, Depends(_reservation)]
"""The parameter by which a route reserves what its answer takes; it is given back when the answer is sent."""
