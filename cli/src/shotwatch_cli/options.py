"""Options that several commands share."""

import os
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer

from shotwatch_cli.failures import Misuse

FACILITY = Path("facilities/hpls.yaml")
"""The default, in the current folder."""


def trusted_facility(path: Path) -> Path:
    """Return the path of a facility file; the default one must not be another user's.

    Whoever runs a command in a folder of somebody else did not choose the file that lies there, which decides
    what is a file, a device and a shot.

    Raises:
        typer.BadParameter: it is the default and belongs to another user, or its folder does.
    """
    if path == FACILITY and path.exists():
        owners = {each.lstat().st_uid for each in (path, path.parent)} | {path.stat().st_uid}
        if not owners <= {os.geteuid(), 0}:
            raise typer.BadParameter(f"{path.absolute()} belongs to another user: set --facility")
    return path


def read_time(text: str) -> datetime:
    """Parse an ISO 8601 time, in UTC if it names no time zone.

    Raises:
        typer.BadParameter: the text has another form.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time such as 2022-07-01T07:33") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _login_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError) as error:
        raise Misuse("this machine does not know who you are", "give your name with --who") from error


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for programs.")]
FacilityOption = Annotated[
    Path,
    typer.Option(
        "--facility",
        envvar="SHOTWATCH_FACILITY",
        dir_okay=False,
        callback=trusted_facility,
        help="The facility file.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", file_okay=False, help="Folder for the files and their labels.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of the random numbers: the same seed gives the same result.")
]
IntervalOption = Annotated[
    str | None,
    typer.Option("--interval", help="Needed if the place is recorded at several: 100ms, 1s …"),
]
StartOption = Annotated[
    datetime | None,
    typer.Option("--start", parser=read_time, metavar="TIME", help="Time of the first pulse, UTC."),
]
UnpinnedOption = Annotated[
    bool,
    typer.Option(
        "--unpinned",
        help="Also a version that was never promoted or a challenger: its files cannot be verified.",
    ),
]
FromOption = Annotated[
    datetime | None, typer.Option("--from", parser=read_time, metavar="TIME", help="From this time on, UTC.")
]
ToOption = Annotated[
    datetime | None, typer.Option("--to", parser=read_time, metavar="TIME", help="Before this time, UTC.")
]
WhoOption = Annotated[
    str,
    typer.Option(
        "--who",
        default_factory=_login_name,
        show_default="login name",
        help="Name of the person who does this.",
    ),
]
