"""What commands in processes of their own share: progress as JSON lines, arguments, exit status."""

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
    """Return standard output for us alone: what libraries print goes to standard error from now on."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def tell(step: str, *, to: TextIO | None = None, **figures: object) -> None:
    """Print one line of progress to a stream, to standard output by default."""
    print(printable_json({"step": step, **figures}), file=to, flush=True)


def exit_status(
    work: Callable[[], None],
    *expected: type[Exception],
    away: tuple[type[Exception], ...] = (),
    to: TextIO | None = None,
) -> int:
    """Do the work. Return 0 if it is done, 1 after an expected error, 2 after wrong settings, 3 if a server
    cannot be reached: Retry, or one of the errors `away`. Errors are told as progress to the stream `to`.
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
    """ISO 8601, UTC unless it says otherwise."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_list(text: str) -> tuple[str, ...]:
    """`LA-A1-11,LA-A2-00`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _fail(status: int, error: Exception, to: TextIO | None) -> int:
    tell("failed", to=to, why=str(error))
    print(printable_lines(str(error)), file=sys.stderr)
    return status
