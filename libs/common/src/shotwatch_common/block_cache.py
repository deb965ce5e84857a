"""The block cache: a folder in which the services of one machine find recent blocks (ADR 35).

Ingest keeps each block here that it has put into the object store. The other services read it from here, or
fetch it from the store if it is not here. The store has every block. What happens to the folder therefore
costs time and nothing else.
"""

import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Self

import pyarrow as pa
from deflate import crc32

from shotwatch_common import metrics
from shotwatch_common.block import MAX_BLOCK_BYTES
from shotwatch_common.metrics import CacheOutcome
from shotwatch_common.settings import Settings, SettingsError
from shotwatch_shots.records import BlockRef

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PARTS = 8
"""The folder is listed after each part of its size that was written, not for each block."""


class BlockCache:
    """Blocks in a folder that belongs to this user alone, the oldest of which make room for new ones.

    The name of a file is made of the block's key and CRC-32, so a block that was made again has another one.
    """

    def __init__(self, folder: int, max_bytes: int) -> None:
        """Take the descriptor of a folder; another folder that comes into its place is not used."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._writing = Lock()
        self._room = 0
        """Bytes that may be written until another file is replaced."""
        self._oldest: deque[tuple[int, str]] = deque()
        """Size and name of the files that new blocks replace until the folder is listed again."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the cache of these settings; None if they name no folder.

        Raises:
            SettingsError: the folder cannot be opened, is a link, or another user has rights to it.
        """
        if settings.block_cache is None:
            return None
        return cls(_private_folder(settings.block_cache), settings.block_cache_bytes)

    def close(self) -> None:
        os.close(self._folder)

    def find(self, ref: BlockRef) -> bytes | None:
        """Return the bytes of a block; None if it is not here, or is not as written."""
        if ref.crc32 is None:
            return None
        try:
            data = self._read(_name(ref))
        except FileNotFoundError:
            metrics.block_cache(CacheOutcome.MISS)
        except OSError:
            metrics.block_cache(CacheOutcome.UNREADABLE)
        else:
            if crc32(data) == ref.crc32:
                metrics.block_cache(CacheOutcome.HIT, len(data))
                return data
            metrics.block_cache(CacheOutcome.UNREADABLE)
        return None

    def keep(self, ref: BlockRef, data: pa.Buffer) -> None:
        """Keep a block; do nothing if the folder has no room for it or cannot be written."""
        unfinished = f"{secrets.token_hex(8)}.new"
        try:
            with self._writing:
                self._make_room(len(data), unfinished)
                self._write(unfinished, data)
            self._rename(unfinished, _name(ref))
        except OSError:
            metrics.block_cache(CacheOutcome.NOT_KEPT)
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=self._folder)
        else:
            metrics.block_cache(CacheOutcome.KEPT, len(data))

    def _read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            OSError: it cannot be read, or is larger than any block.
        """
        with os.fdopen(os.open(name, _READ, dir_fd=self._folder), "rb", buffering=0) as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_BLOCK_BYTES:
                raise OSError(f"{name}: has {size} bytes")
            return file.readall()

    def _write(self, name: str, data: pa.Buffer) -> None:
        """Write a file, over the content that it may have: its memory need not be allocated again."""
        descriptor = os.open(name, _WRITE, 0o600, dir_fd=self._folder)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.truncate(descriptor, len(data))
        finally:
            os.close(descriptor)

    def _make_room(self, size: int, unfinished: str) -> None:
        """Remove the oldest blocks if this one might not fit; one of them becomes the file `unfinished`.

        A reader that has this one open finds another CRC-32, and uses the store.

        Raises:
            OSError: the block is larger than a part, or the folder cannot be listed.
        """
        part = self._max_bytes // _PARTS
        if size > part:
            raise OSError(f"{size} bytes are more than an eighth of the block cache")
        if size > self._room + sum(of for of, _ in self._oldest):
            self._find_oldest(part)
        while size > self._room:
            of, name = self._oldest.popleft()
            self._room += of
            with suppress(FileNotFoundError):  # another replica removed it
                self._rename(name, unfinished)
        self._room -= size

    def _find_oldest(self, part: int) -> None:
        """List the folder; choose the oldest files, without which there is room for `part` bytes."""
        files = sorted(self._files())
        self._room = room = self._max_bytes - sum(size for _, size, _ in files)
        self._oldest.clear()
        for _, size, name in files:
            if room >= part:
                return
            self._oldest.append((size, name))
            room += size

    def _rename(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Yield the time of writing (ns), the size and the name of each file."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield status.st_mtime_ns, status.st_size, entry.name


def _name(ref: BlockRef) -> str:
    return blake2b(f"{ref.bucket}\n{ref.key}\n{ref.crc32}".encode(), digest_size=16).hexdigest()


def _private_folder(path: Path) -> int:
    """Return the descriptor of a folder to which no other user has rights.

    Raises:
        SettingsError: it cannot be opened, is a link, or another user has rights to it.
    """
    try:
        descriptor = os.open(path, _FOLDER)
    except OSError as error:
        raise SettingsError(
            f"the block cache '{path}' is not a folder of the service's user: {error.strerror}"
        ) from error
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        os.close(descriptor)
        raise SettingsError(f"the block cache '{path}' must belong to the service's user and have mode 0700")
    return descriptor
