"""The files of a stack are its owner's alone, also on a machine that others use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UMASK = 0o077
"""No rights for group and others on whatever a process of the stack creates."""


@contextmanager
def private_files() -> Iterator[None]:
    """Create files and folders without rights for group and others inside this context.

    The mask belongs to the whole process, so nothing inside may wait for other tasks.
    """
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)


def make_private(folder: Path) -> None:
    """Take the rights of group and others away from a folder and from all that lies in it.

    A folder without such rights is left alone: it was created or changed this way before. The folder itself
    comes last, so that a change that was interrupted is made again.
    """
    if not _mode(folder) & UMASK:
        return
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(_mode(path) & ~UMASK)
    folder.chmod(_mode(folder) & ~UMASK)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777
