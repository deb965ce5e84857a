"""What only one process of the tests may do at a time, such as to install programs that are missing."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INSTALLING = Path(sys.prefix) / "installing"
"""The lock of whoever searches for a program or installs one."""


@contextmanager
def alone(lock: Path = INSTALLING) -> Iterator[None]:
    """No other process of the tests has this lock meanwhile; it is waited for."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
