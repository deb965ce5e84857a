"""What a command says when it cannot go on: what is wrong, and what to do next."""

import logging
from typing import Any

import typer
from typer.core import TyperGroup

from shotwatch_cli.output import stderr, styled
from shotwatch_common.archive import TRANSIENT
from shotwatch_common.errors import Retry
from shotwatch_common.facility import FacilityError
from shotwatch_common.settings import SettingsError
from shotwatch_embedded.errors import StackError

AWAY = (Retry, *TRANSIENT)
"""What the edges raise when a server is away."""


class Failure(Exception):
    """A command cannot do what it was asked to, and nobody is surprised by it."""

    exit_code = 1

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


class Misuse(Failure):
    """The command was asked for something that makes no sense."""

    exit_code = 2


class Commands(TyperGroup):
    """The edge of all commands: what can be expected to go wrong is told in a sentence, with an exit code.

    What libraries log of it would be told twice.
    """

    def invoke(self, ctx: Any) -> Any:
        logging.getLogger().addHandler(logging.NullHandler())
        try:
            return super().invoke(ctx)
        except (Failure, FacilityError, SettingsError, StackError, *AWAY) as error:
            failure = as_failure(error)
            stderr.print(styled(("error: ", "bold red"), str(failure)), soft_wrap=True)
        if failure.advice:
            stderr.print(styled(("next:  ", "bold"), failure.advice))
        raise typer.Exit(failure.exit_code)


def as_failure(error: Exception) -> Failure:
    """An expected error in words for people."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, AWAY):
        return Failure(_first_part(error), "`shotwatch doctor` says what is away and what to do")
    if isinstance(error, FacilityError):
        return Failure(str(error), "mend it, or name another by --facility")
    return Failure(str(error))


def _first_part(error: Exception) -> str:
    """The database's driver goes on for lines about its view of the servers."""
    return str(error).partition(", Timeout:")[0]
