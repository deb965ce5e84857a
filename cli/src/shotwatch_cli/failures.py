"""What a command says when it cannot go on: what is wrong, and what to do next."""

from typing import Any

import typer
from rich.text import Text
from shotwatch_common.errors import Retry
from shotwatch_common.facility import FacilityError
from shotwatch_common.settings import SettingsError
from typer.core import TyperGroup

from shotwatch_cli.output import stderr


class Failure(Exception):
    """A command cannot do what it was asked to, and nobody is surprised by it."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


class Commands(TyperGroup):
    """The edge of all commands: what can be expected to go wrong is said in a sentence, with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (FacilityError, SettingsError) as error:
            _say(str(error), "")
        except Retry as error:
            _say(str(error), "`shotwatch doctor` says which server is away")
        except Failure as error:
            _say(str(error), error.advice)
        raise typer.Exit(1)


def _say(what: str, advice: str) -> None:
    stderr.print(Text.assemble(("error: ", "bold red"), what))
    if advice:
        stderr.print(Text.assemble(("next:  ", "bold"), advice))
