"""The workspace of one file: its bytes and its blocks, in unnamed files."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import Self

from shotwatch_shots.errors import Retry

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  files without a name
_MIN_FREE_BYTES = 1 << 30


class Workspace:
    """Two unnamed files, in memory if there is room, else in the folder of temporary files.

    Only processes that receive their descriptors can open them. They disappear with the last process that has
    them open. A context manager that closes them.

    Raises:
        Retry: there is no room for the file's bytes.
    """

    def __init__(self, data: bytes) -> None:
        folder = _folder()
        try:
            with ExitStack() as opened:
                self._image, self._blocks = (
                    opened.enter_context(TemporaryFile(dir=folder, buffering=0)) for _ in range(2)
                )
                write_all(self.image, data)
                self._files = opened.pop_all()
        except OSError as error:
            raise Retry(f"the scratch folder: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._files.close()

    @property
    def image(self) -> int:
        """The descriptor of the file's bytes."""
        return self._image.fileno()

    @property
    def blocks(self) -> int:
        """The descriptor of the blocks, one after the other."""
        return self._blocks.fileno()

    def block(self, start: int, size: int) -> bytes:
        """Return the bytes of a block; fewer if the file ends before."""
        return os.pread(self.blocks, size, start)


def read_all(descriptor: int) -> bytes:
    """Return all bytes of a file, whatever its current position."""
    return os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_END), 0)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all data at the file's current position.

    Raises:
        OSError: there is no room.
    """
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _folder() -> Path:
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _MIN_FREE_BYTES:
        return _IN_MEMORY
    return Path(gettempdir())
