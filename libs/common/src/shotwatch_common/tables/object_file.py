"""An object of the store as a file that a thread reads, of which only the parts that are read are fetched."""

import asyncio
import io
from collections.abc import Awaitable, Callable

Fetch = Callable[[int, int], Awaitable[bytes]]
"""Return `length` bytes from `offset` on."""
ANSWER_S = 60.0
"""Timeout for a thread that waits for the event loop: one that has ended never answers."""
TAIL_BYTES = 64 * 1024
"""The end of the file that is fetched at once: a Parquet file has its description there."""


class ObjectFile(io.RawIOBase):
    """A file of which each read is one request to the store, except those of its end.

    It is read in a thread, while the event loop that serves `fetch` runs in another one.
    """

    def __init__(
        self, fetch: Fetch, size: int, loop: asyncio.AbstractEventLoop, tail: int = TAIL_BYTES
    ) -> None:
        """Open a file of `size` bytes, the last `tail` of which are fetched at once."""
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._loop = loop
        self._position = 0
        self._tail_start = max(size - tail, 0)
        self._tail: bytes | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes from the position on; up to the end if `size` is negative.

        Raises what `fetch` raises, and TimeoutError.
        """
        rest = max(self._size - self._position, 0)
        length = rest if size < 0 else min(size, rest)
        data = self._read(self._position, length) if length else b""
        self._position += len(data)
        return data

    def _read(self, offset: int, length: int) -> bytes:
        if offset < self._tail_start:
            return self._fetched(offset, length)
        if self._tail is None:
            self._tail = self._fetched(self._tail_start, self._size - self._tail_start)
        start = offset - self._tail_start
        return self._tail[start : start + length]

    def _fetched(self, offset: int, length: int) -> bytes:
        return fetched(self._fetch, offset, length, self._loop)


def fetched(fetch: Fetch, offset: int, length: int, loop: asyncio.AbstractEventLoop) -> bytes:
    """Return in a thread what `fetch` returns in the event loop. Raises what it raises, and TimeoutError."""

    async def fetch_it() -> bytes:
        return await fetch(offset, length)

    return asyncio.run_coroutine_threadsafe(fetch_it(), loop).result(ANSWER_S)
