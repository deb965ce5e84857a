"""Whose a stack is: nothing is read from, written to or started by files of another user."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shotwatch_embedded.errors import ForeignStack

_ROOT = 0
_NO_LINK = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK, opening a FIFO would wait for its other end."""
_CHOOSE = "name a folder of yours by --root"


def belongs_to_caller(path: Path) -> bool:
    """Return whether the caller owns what is at `path`; a link counts as itself."""
    return path.lstat().st_uid == os.geteuid()


def resolved_root(root: Path) -> Path:
    """Return the absolute path of the root, without links. Folders above it may be links.

    Raises:
        ForeignStack: the root is a link itself.
    """
    if root.is_symlink():
        _require_folder(root)
    return root.resolve()


def require_own(folder: Path) -> None:
    """Check that the folder is the caller's own.

    Raises:
        ForeignStack: it belongs to another user, or is a link.
    """
    _require_own(folder.lstat(), folder, owners=(os.geteuid(),))
    _require_folder(folder)


def require_own_place(folder: Path) -> None:
    """Check that the folder is the caller's own, and that no other user can put another in its place.

    Raises:
        ForeignStack: it belongs to another user or is a link, or another user may write to a folder above it.
    """
    require_own(folder)
    for above in folder.parents:
        require_trusted(above)


def require_trusted(folder: Path) -> None:
    """Check that no other user can replace what we have in the folder.

    Raises:
        ForeignStack: another user can, or the folder is a link.
    """
    status = folder.lstat()
    _require_own(status, folder, owners=(os.geteuid(), _ROOT))
    _require_folder(folder)
    if _others_may_write(status) and not status.st_mode & stat.S_ISVTX:
        raise ForeignStack(
            f"other users may write to {folder}, so that they could replace the stack's files: "
            f"remove their right by `chmod go-w {folder}`, or {_CHOOSE}"
        )


@contextmanager
def own_folder(folder: Path) -> Iterator[int]:
    """Open the folder of a stack, which must be the caller's own, in a root of the caller or of `root`.

    Raises:
        ForeignStack: it belongs to another user, or is a link.
        FileNotFoundError: there is none.
    """
    _require_own(folder.parent.lstat(), folder.parent, owners=(os.geteuid(), _ROOT))
    _require_folder(folder.parent)
    _require_folder(folder)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
    try:
        _require_own(os.fstat(descriptor), folder, owners=(os.geteuid(),))
        yield descriptor
    finally:
        os.close(descriptor)


def open_own(path: Path, within: int, flags: int) -> int:
    """Open the file at `path`, whose folder is open as `within`. It must be a regular file of the caller.

    Raises:
        ForeignStack: it belongs to another user, or is not a regular file.
        FileNotFoundError: there is none, and the flags do not create it.
    """
    try:
        descriptor = os.open(path.name, flags | _NO_LINK, 0o600, dir_fd=within)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ForeignStack(f"{path} cannot be opened as a file of yours ({error.strerror})") from error
    try:
        status = os.fstat(descriptor)
        _require_own(status, path, owners=(os.geteuid(),))
        if not stat.S_ISREG(status.st_mode):
            raise ForeignStack(f"{path} is not a regular file: remove it")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_folder(folder: Path) -> None:
    mode = folder.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise ForeignStack(f"{folder} is a link, which is not followed: name the folder itself by --root")
    if not stat.S_ISDIR(mode):
        raise ForeignStack(f"{folder} is not a folder: remove it, or {_CHOOSE}")


def _require_own(status: os.stat_result, path: Path, owners: tuple[int, ...]) -> None:
    if status.st_uid not in owners:
        raise ForeignStack(
            f"{path} belongs to another user, {_name(status.st_uid)}, who could change everything in it: "
            f"{_CHOOSE}"
        )


def _others_may_write(status: os.stat_result) -> bool:
    by_group = status.st_mode & stat.S_IWGRP and not _is_private_group(status.st_gid, status.st_uid)
    return bool(by_group or status.st_mode & stat.S_IWOTH)


def _is_private_group(group: int, user: int) -> bool:
    """Return whether the user is alone in the group: many systems make such a group, and umask 002."""
    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
