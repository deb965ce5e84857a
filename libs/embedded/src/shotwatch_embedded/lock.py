"""The lock of a stack: the process that holds it is the stack's supervisor, and it ends with that process."""

import fcntl
from pathlib import Path
from typing import TextIO

from shotwatch_embedded.processes import LOCK_NAME


def take(folder: Path) -> TextIO | None:
    """The lock of the stack in `folder`, held until it is closed; None when another holds it."""
    lock = (folder / LOCK_NAME).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def is_held(folder: Path) -> bool:
    """Whether a supervisor lives for the stack in `folder`."""
    lock = take(folder)
    if lock is not None:
        lock.close()
    return lock is None
