"""Access rights of a stack's files: only the owner can read them, even on a shared machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UMASK = 0o077
"""No rights for group and others on anything that a process of the stack creates."""


@contextmanager
def private_files() -> Iterator[None]:
    """Create files and folders without rights for group and others inside this context.

    The mask belongs to the whole process, so the body of the context must not wait for other tasks.
    """
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)


def make_private(folder: Path) -> None:
    """Remove the rights of group and others from a folder and from everything in it.

    A folder that already has no such rights is skipped: it was created or changed this way before. The folder
    itself is changed last, so that an interrupted change is repeated.
    """
    if not _mode(folder) & UMASK:
        return
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(_mode(path) & ~UMASK)
    folder.chmod(_mode(folder) & ~UMASK)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777
