"""The limit on the searches of one caller: one runs at a time, and the others of this caller wait for it.

A search may take a thread for half a minute, and there are few. Without this limit, one caller could keep all
of them, and everybody else would wait behind that caller's searches.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from shotwatch_query.errors import TooMany

MOST_WAITING_OF_CALLER = 20
_WAIT_S = 10.0


class Searches:
    """The searches that run or wait, by caller."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def turn_of(self, caller: str) -> AsyncIterator[None]:
        """Wait until no other search of this caller runs.

        Raises:
            TooMany: too many of this caller wait already.
        """
        if self._waiting[caller] >= MOST_WAITING_OF_CALLER:
            raise TooMany(f"{caller} has too many searches at once: ask for one at a time", _WAIT_S)
        turn = self._turns.setdefault(caller, asyncio.Lock())
        self._waiting[caller] += 1
        try:
            await turn.acquire()
        finally:
            self._waiting[caller] -= 1
            self._waiting += Counter()  # drops callers that do not wait
        try:
            yield
        finally:
            turn.release()
