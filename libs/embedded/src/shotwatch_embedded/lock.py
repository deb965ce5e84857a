"""The lock of a stack. Its holder is the stack's supervisor; it is released when that process ends."""

import fcntl
from pathlib import Path
from typing import TextIO

from shotwatch_embedded.processes import LOCK_NAME


def take(folder: Path) -> TextIO | None:
    """Take the lock of the stack in `folder`, held until it is closed; return None if it is already held."""
    lock = (folder / LOCK_NAME).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def is_held(folder: Path) -> bool:
    """Return whether a supervisor of the stack in `folder` is alive."""
    lock = take(folder)
    if lock is not None:
        lock.close()
    return lock is None
