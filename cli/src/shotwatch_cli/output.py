"""Output of commands: tables for people or JSON for programs on stdout, everything else on stderr.

Object keys, device names, states and notes come from outside. These consoles print all text literally: Rich's
markup has no effect in it, and control characters that a terminal would obey are printed as escapes.
"""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
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
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from shotwatch_common.printable import printable, printable_json, printable_lines
from shotwatch_shots.pulses import instant

_MEGABYTE = 1_000_000


class LiteralConsole(Console):
    """A console that prints text literally: neither the terminal nor Rich interprets it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text with escapes, before it is laid out."""
        return super().render_str(printable_lines(text), **options)

    def status(self, status: RenderableType, **options: Any) -> "LiteralStatus":
        """Return a context manager that shows a spinner with a text beside it."""
        return LiteralStatus(_shown(status), console=self, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the output: the given text with escapes, and Rich's own control codes."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


class LiteralStatus(Status):
    """A spinner whose text is shown literally: Rich would read a str as markup."""

    def update(self, status: RenderableType | None = None, **options: Any) -> None:
        """Show another text."""
        super().update(None if status is None else _shown(status), **options)


stdout = LiteralConsole()
stderr = LiteralConsole(stderr=True)


def print_json(value: object) -> None:
    """Write one JSON document on one line of stdout."""
    sys.stdout.write(printable_json(value, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()


def report(json: bool, record: object, shown: RenderableType) -> None:
    """Print a result, as JSON for programs or formatted for people."""
    if json:
        print_json(record)
    else:
        stdout.print(shown)


def styled(*parts: str | tuple[str, str] | Text) -> Text:
    """Return a Text of literal parts, each with or without a style, with escapes before it is laid out."""
    return Text.assemble(*(_literal(part) for part in parts))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table; columns whose title ends in `#` hold numbers and are aligned to the right.

    A cell is a rich `Text` that `styled` made, or any other object, which is shown as its str() on one line.
    """
    made = Table(title=printable(title), title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        justify: JustifyMethod = "right" if column.endswith("#") else "left"
        made.add_column(printable(column.removesuffix("#")), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return made


def counting() -> Progress:
    """Return a progress bar on stderr that counts items."""
    return _progress(MofNCompleteColumn())


def transferring() -> Progress:
    """Return a progress bar on stderr that counts bytes."""
    return _progress(DownloadColumn(), TransferSpeedColumn())


def megabytes(size: float) -> str:
    """Format a size in bytes: `4.98 MB` for 4,980,000."""
    return f"{size / _MEGABYTE:.2f} MB"


def moment(epoch_ms: int) -> str:
    """Format a time: `2022-07-01 07:33:00.100`, UTC."""
    return f"{instant(epoch_ms):%Y-%m-%d %H:%M:%S}.{epoch_ms % 1000:03d}"


def _shown(renderable: RenderableType) -> RenderableType:
    return styled(renderable) if isinstance(renderable, str) else renderable


def _literal(part: str | tuple[str, str] | Text) -> str | tuple[str, str] | Text:
    match part:
        case str():
            return printable_lines(part)
        case (str(text), style):
            return printable_lines(text), style
        case _:
            return part


def _progress(*columns: ProgressColumn) -> Progress:
    named = TextColumn("{task.description}", markup=False)
    return Progress(named, BarColumn(), *columns, TimeRemainingColumn(), console=stderr, transient=True)
