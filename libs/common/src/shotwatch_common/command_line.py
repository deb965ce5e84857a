"""Shared parts of commands that run in their own process: JSON lines of progress, arguments, exit status."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from shotwatch_common.printable import printable_json, printable_lines
from shotwatch_common.settings import SettingsError
from shotwatch_shots.errors import Retry
from shotwatch_shots.facility import FacilityError


def own_output() -> TextIO:
    """Reserve standard output for the caller, and return it.

    From then on, whatever libraries print goes to standard error.
    """
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def report(step: str, *, to: TextIO | None = None, **figures: object) -> None:
    """Print one line of progress as JSON to a stream, by default to standard output."""
    print(printable_json({"step": step, **figures}), file=to, flush=True)


def exit_status(
    work: Callable[[], None],
    *expected: type[Exception],
    away: tuple[type[Exception], ...] = (),
    to: TextIO | None = None,
) -> int:
    """Do the work and return the exit status.

    The status is 0 on success, 1 after an expected error, 2 after wrong settings, and 3 if a server cannot be
    reached (Retry, or one of the errors `away`). Errors are also reported as progress on the stream `to`.
    """
    try:
        work()
    except expected as error:
        return _fail(1, error, to)
    except (SettingsError, FacilityError) as error:
        return _fail(2, error, to)
    except Retry as error:
        return _fail(3, error, to)
    except away as error:
        return _fail(3, error, to)
    return 0


def read_time(text: str) -> datetime:
    """Parse a time in ISO 8601; without an offset it is UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_list(text: str) -> tuple[str, ...]:
    """Parse a list separated by commas, such as `LA-A1-11,LA-A2-00`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _fail(status: int, error: Exception, to: TextIO | None) -> int:
    report("failed", to=to, why=str(error))
    print(printable_lines(str(error)), file=sys.stderr)
    return status
