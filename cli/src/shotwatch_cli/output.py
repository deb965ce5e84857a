"""What commands print: tables for people or JSON for programs on stdout, everything else on stderr."""

import json as json_format
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, JustifyMethod, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from shotwatch_common.pulses import instant

stdout = Console()
stderr = Console(stderr=True)

_MEGABYTE = 1_000_000


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout."""
    sys.stdout.write(json_format.dumps(value, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()


def tell(json: bool, record: Any, shown: RenderableType) -> None:
    """A result, as JSON for programs or as people read it."""
    if json:
        print_json(record)
    else:
        stdout.print(shown)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A table; columns whose title ends in `#` hold numbers and are aligned to the right.

    A cell is a rich `Text` or anything else, which is shown as its str().
    """
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        justify: JustifyMethod = "right" if column.endswith("#") else "left"
        made.add_column(column.removesuffix("#"), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def counting() -> Progress:
    """A progress bar on stderr that counts things."""
    return _progress(MofNCompleteColumn())


def transferring() -> Progress:
    """A progress bar on stderr that counts bytes."""
    return _progress(DownloadColumn(), TransferSpeedColumn())


def megabytes(size: float) -> str:
    """`4.98 MB` of 4,980,000 bytes."""
    return f"{size / _MEGABYTE:.2f} MB"


def moment(epoch_ms: int) -> str:
    """`2022-07-01 07:33:00.100`, UTC."""
    return f"{instant(epoch_ms):%Y-%m-%d %H:%M:%S}.{epoch_ms % 1000:03d}"


def _progress(*columns: ProgressColumn) -> Progress:
    named = TextColumn("{task.description}")
    return Progress(named, BarColumn(), *columns, TimeRemainingColumn(), console=stderr, transient=True)
