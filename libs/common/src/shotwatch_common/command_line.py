"""What commands in processes of their own share: progress as JSON lines, arguments, exit status."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from shotwatch_common.archive import TRANSIENT
from shotwatch_common.errors import Retry
from shotwatch_common.facility import FacilityError
from shotwatch_common.printable import printable_json, printable_lines
from shotwatch_common.settings import SettingsError

_progress: TextIO = sys.stdout


def keep_output_for_progress() -> None:
    """Standard output is ours alone; what libraries print there goes to standard error from now on."""
    global _progress
    _progress = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def tell(step: str, **figures: object) -> None:
    """One line of progress."""
    print(printable_json({"step": step, **figures}), file=_progress, flush=True)


def exit_status(work: Callable[[], None], *expected: type[Exception]) -> int:
    """Do the work; 0 done, 1 what was expected went wrong, 2 wrong settings, 3 a server cannot be reached."""
    try:
        work()
    except expected as error:
        return _fail(1, error)
    except (SettingsError, FacilityError) as error:
        return _fail(2, error)
    except (Retry, *TRANSIENT) as error:
        return _fail(3, error)
    return 0


def read_time(text: str) -> datetime:
    """ISO 8601, UTC unless it says otherwise."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_list(text: str) -> tuple[str, ...]:
    """`LA-A1-11,LA-A2-00`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _fail(status: int, error: Exception) -> int:
    tell("failed", why=str(error))
    print(printable_lines(str(error)), file=sys.stderr)
    return status
