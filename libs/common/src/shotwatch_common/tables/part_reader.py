"""Parts of files in the object store, as threads read them."""

import asyncio
from functools import lru_cache

from shotwatch_common.tables.table_store import TableStore
from shotwatch_tables.manifest import TableFile

ANSWER_S = 60.0
"""Timeout for a thread that waits for the event loop: one that has ended never answers."""
SMALL_BYTES = 32 << 10
"""Most bytes of a part that is kept: the description of pieces has 21 kB, ids of an hour at 10 Hz 19 kB."""
MOST_KEPT = 4096
"""Most parts that are kept, 128 MiB at most: a search reads three of each file, 2,160 in 30 days."""


class PartReader:
    """Reads parts of files, each by one request to the store, and keeps small ones.

    A file never changes, so what has been read stays true. Threads read, while the event loop that serves
    the store runs in another one.
    """

    def __init__(self, store: TableStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._kept = lru_cache(MOST_KEPT)(self._fetched)

    def read(self, file: TableFile, offset: int, length: int) -> bytes:
        """Return `length` bytes of a file from `offset` on.

        Raises:
            ObjectGone: the file was replaced more than GRACE_MS ago.
            Retry: the store does not answer.
            TimeoutError: the event loop does not answer.
        """
        read = self._kept if length <= SMALL_BYTES else self._fetched
        return read(file, offset, length)

    def forget(self) -> None:
        """Forget the parts that are kept: an administrator may have mended a file."""
        self._kept.cache_clear()

    def _fetched(self, file: TableFile, offset: int, length: int) -> bytes:
        part = self._store.part(file, offset, length)
        return asyncio.run_coroutine_threadsafe(part, self._loop).result(ANSWER_S)
