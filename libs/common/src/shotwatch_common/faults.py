"""Fault points: where a test makes a process die, between two steps that belong together.

A point does nothing unless `SHOTWATCH_FAULTS` names a folder inside the embedded stack that the process
belongs to. If that folder contains a file with the name of a point, the next process that reaches the point
dies as by SIGKILL. This happens once, because the process deletes the file first.
"""

import os
import signal
from pathlib import Path

_FOLDER = "SHOTWATCH_FAULTS"
_STACK = "SHOTWATCH_PROCESS_OF"


def reach(point: str) -> None:
    """Kill this process if the point is armed."""
    folder = _fault_folder()
    if folder is not None and _disarm(folder / point):
        os.kill(os.getpid(), signal.SIGKILL)


def _fault_folder() -> Path | None:
    """Return the folder of armed points; None outside an embedded stack for fault injection."""
    folder, stack = os.environ.get(_FOLDER), os.environ.get(_STACK)
    if not folder or not stack or not Path(folder).is_relative_to(stack):
        return None
    return Path(folder)


def _disarm(armed: Path) -> bool:
    """Remove the mark of an armed point; return whether this process was the first to reach it."""
    try:
        armed.unlink()
    except FileNotFoundError:
        return False
    return True
