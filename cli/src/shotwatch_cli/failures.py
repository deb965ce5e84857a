"""Errors of commands: what is wrong, and what to do next."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from shotwatch_cli.output import stderr, styled
from shotwatch_common.archive import TRANSIENT
from shotwatch_common.printable import printable_lines
from shotwatch_common.settings import SettingsError
from shotwatch_embedded.errors import StackError
from shotwatch_shots.errors import Retry
from shotwatch_shots.facility import FacilityError

AWAY = (Retry, *TRANSIENT)
"""Errors that libs/common raises when a server cannot be reached."""


class Failure(Exception):
    """An expected error: the command cannot do what was requested."""

    exit_code = 1

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


class Misuse(Failure):
    """The arguments of the command make no sense."""

    exit_code = 2


class Commands(TyperGroup):
    """The outermost handler of all commands: an expected error becomes one sentence and an exit code.

    Log messages of libraries about the same error are suppressed. Errors quote arguments, file names and
    answers of servers. Typer and Python would print these unchanged, so control characters in them are
    escaped here.
    """

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the options of all commands."""
        with _printable_usage_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` names."""
        logging.getLogger().addHandler(logging.NullHandler())
        try:
            with _printable_usage_errors():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, EOFError, BrokenPipeError):
            raise
        except (Failure, FacilityError, SettingsError, StackError, *AWAY) as error:
            failure = as_failure(error)
            stderr.print(styled(("error: ", "bold red"), str(failure)), soft_wrap=True)
        except Exception as error:  # noqa: BLE001 - the edge of the process: a defect of ours
            crash = "".join(traceback.format_exception(error))
            stderr.print(styled(crash), soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None
        if failure.advice:
            stderr.print(styled(("next:  ", "bold"), failure.advice))
        raise typer.Exit(failure.exit_code)


@contextmanager
def _printable_usage_errors() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        error.message = printable_lines(error.message)
        raise


def as_failure(error: Exception) -> Failure:
    """Return an expected error with a message for people."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, AWAY):
        return Failure(
            _first_part(error), "`shotwatch doctor` shows which server is unavailable and what to do"
        )
    if isinstance(error, FacilityError):
        return Failure(str(error), "correct it, or give another with --facility")
    return Failure(str(error))


def _first_part(error: Exception) -> str:
    """Return the message without the driver's description of the servers, which fills several lines."""
    return str(error).partition(", Timeout:")[0]
