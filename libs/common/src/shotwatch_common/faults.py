"""Fault points: where a test makes a process die, between two steps that belong together.

A point does nothing unless `SHOTWATCH_FAULTS` names a folder inside the embedded stack that the process
belongs to. There a file called like the point makes the next process that gets there die as by SIGKILL,
once: the process takes the file with it.
"""

import os
import signal
from functools import cache
from pathlib import Path

_FOLDER = "SHOTWATCH_FAULTS"
_STACK = "SHOTWATCH_PROCESS_OF"


def reach(point: str) -> None:
    """Die here if the point is armed."""
    folder = _armoury()
    if folder is not None and _disarm(folder / point):
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _armoury() -> Path | None:
    """Where armed points lie; None outside of an embedded stack that is to be tortured."""
    folder, stack = os.environ.get(_FOLDER), os.environ.get(_STACK)
    if not folder or not stack or not Path(folder).is_relative_to(stack):
        return None
    return Path(folder)


def _disarm(armed: Path) -> bool:
    """Whether the point was armed, and this process was the first to get there."""
    try:
        armed.unlink()
    except FileNotFoundError:
        return False
    return True
