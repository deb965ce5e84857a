"""The lock of a stack. Its holder is the stack's supervisor; it is released when that process ends."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from shotwatch_embedded.ownership import open_own, own_folder
from shotwatch_embedded.processes import LOCK_NAME


def take(folder: Path) -> TextIO | None:
    """Take the lock of the stack in `folder`, held until it is closed; return None if it is already held.

    Raises:
        ForeignStack: the folder or the lock is not the caller's own.
    """
    with own_folder(folder) as within:
        lock = os.fdopen(open_own(folder / LOCK_NAME, within, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def is_held(folder: Path) -> bool:
    """Return whether a supervisor of the stack in `folder` is alive.

    Raises:
        ForeignStack: the folder or the lock is not the caller's own.
    """
    lock = take(folder)
    if lock is not None:
        lock.close()
    return lock is None
