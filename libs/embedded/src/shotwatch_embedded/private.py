"""Access rights of a stack's files: only the owner can read them, even on a shared machine."""

import os
import stat
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
    for _, folders, files, within in os.fwalk(folder):
        for name in (*folders, *files):
            _make_private(name, within)
    folder.chmod(_mode(folder) & ~UMASK)


def _make_private(name: str, within: int) -> None:
    """Change exactly what was found under the name, even if another user puts a link there meanwhile."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISLNK(mode):
            Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IMODE(mode) & ~UMASK)
    finally:
        os.close(descriptor)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)
