"""Programs that the tests need and install where they are missing."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone() -> Iterator[None]:
    """No other process of the tests looks for a program or installs one meanwhile."""
    with (Path(sys.prefix) / "installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
