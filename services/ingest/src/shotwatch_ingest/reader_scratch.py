"""The scratch folder of a reader pool."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "shotwatch-reader-"
_IN_MEMORY = Path("/dev/shm")  # noqa: S108  the folder inside is made for this process alone
_MIN_FREE_BYTES = 1 << 30


class Scratch:
    """A folder of one process, in memory where there is room, else in the folder of temporary files.

    The process holds a lock on it. A folder without one was left by a process that was killed: the next
    pool removes it.
    """

    def __init__(self) -> None:
        base = _base()
        _remove_orphans(base)
        unlocked = Path(tempfile.mkdtemp(prefix="." + _PREFIX, dir=base))
        self._lock = os.open(unlocked, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = unlocked.rename(base / unlocked.name.removeprefix("."))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _base() -> Path:
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _MIN_FREE_BYTES:
        return _IN_MEMORY
    return Path(tempfile.gettempdir())


def _remove_orphans(base: Path) -> None:
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
