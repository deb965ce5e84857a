"""The logs of a stack's processes. Each is limited, because strangers can make a server write lines."""

import os
import shutil
from pathlib import Path

MOST_LOG_BYTES = 32 << 20
"""A log that is longer becomes `NAME.log.1`, in place of an earlier one."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def is_too_long(log: Path) -> bool:
    """Return whether the log is longer than MOST_LOG_BYTES."""
    return log.stat().st_size > MOST_LOG_BYTES


def shorten(log: Path) -> None:
    """Move the last MOST_LOG_BYTES of a log that is too long to `NAME.log.1`, and empty the log.

    Its process has it open for appending and continues at the new end. Lines of the meantime are lost.
    """
    excess = log.stat().st_size - MOST_LOG_BYTES
    older = log.with_name(f"{log.name}.1")
    older.unlink(missing_ok=True)
    with log.open("rb") as source, os.fdopen(os.open(older, _NEW, 0o600), "wb") as copy:
        source.seek(excess)
        shutil.copyfileobj(source, copy)
    os.truncate(log, 0)
