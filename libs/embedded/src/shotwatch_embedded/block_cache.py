"""The folder of a stack's block cache: in memory if there is room for it, and removed when its stack ends."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp

_MEMORY = Path("/dev/shm")  # noqa: S108  # nobody can foresee the name that mkdtemp chooses there
_PREFIX = "shotwatch-blocks-"
_MIN_FREE_BYTES = 2 << 30
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CacheFolder:
    """An empty folder with rights for its owner alone, locked while its stack lives.

    A stack that was killed leaves its folder behind. The next one of the same user removes it.
    """

    def __init__(self, otherwise: Path) -> None:
        """Create the folder in memory, or at `otherwise` if there is no room in memory."""
        _remove_abandoned()
        if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MIN_FREE_BYTES:
            # It gets the name of a cache once it is locked: until then, a stack that starts could remove it.
            # Nobody can foresee that name, or another user could take it at this moment.
            made = Path(mkdtemp(prefix=f".{_PREFIX}", dir=_MEMORY))
            self._held = _locked(made)
            self.path = made.rename(_MEMORY / f"{_PREFIX}{token_hex(8)}")
        else:
            self.path = otherwise
            shutil.rmtree(otherwise, ignore_errors=True)
            otherwise.mkdir(mode=0o700)
            self._held = _locked(otherwise)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


def _locked(path: Path) -> int:
    """Return the descriptor of a folder that nobody else has locked."""
    descriptor = os.open(path, _FOLDER)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _remove_abandoned() -> None:
    for path in _MEMORY.glob(f"{_PREFIX}*"):
        with (
            suppress(OSError),
            _opened(path) as found,
        ):  # a folder that is closed to us, or of a running stack
            # Another user can make a tree that is too deep to remove.
            if os.fstat(found).st_uid == os.geteuid():
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
