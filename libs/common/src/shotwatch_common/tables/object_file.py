"""An object of the store as a file, of which only the parts that are read are fetched."""

import io
from collections.abc import Callable

Fetch = Callable[[int, int], bytes]
"""Return `length` bytes from `offset` on."""
TAIL_BYTES = 64 * 1024
"""The end of the file that is fetched at once: a Parquet file has its description there."""


class ObjectFile(io.RawIOBase):
    """A file of which each read is one call of `fetch`, except those of its end."""

    def __init__(self, fetch: Fetch, size: int, tail: int = TAIL_BYTES) -> None:
        """Open a file of `size` bytes, the last `tail` of which are fetched at once."""
        super().__init__()
        self._fetch = fetch
        self._size = size
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

        Raises what `fetch` raises.
        """
        rest = max(self._size - self._position, 0)
        length = rest if size < 0 else min(size, rest)
        data = self._read(self._position, length) if length else b""
        self._position += len(data)
        return data

    def _read(self, offset: int, length: int) -> bytes:
        if offset < self._tail_start:
            return self._fetch(offset, length)
        if self._tail is None:
            self._tail = self._fetch(self._tail_start, self._size - self._tail_start)
        start = offset - self._tail_start
        return self._tail[start : start + length]
