"""`shotwatch search`: shots by the value of any column."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from shotwatch_cli.answers import Answer
from shotwatch_cli.deployment import ROOT, Deployment, NameOption, RootOption, find_deployment
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.options import FromOption, IntervalOption, JsonOption, ToOption
from shotwatch_cli.output import print_json, stderr, stdout, table
from shotwatch_cli.rest import Parameter
from shotwatch_shots.expressions.aggregates import AggregatePeriod

_PATH = "/tables/shots"
_TIMEOUT_S = 60.0
"""Longer than the server computes: it gives aggregates up after half a minute."""
_ROWS_OF_PAGE = 100_000
_NEXT = "X-Next-Cursor"

Query = Mapping[str, Parameter]
Texts = list[str] | None
AddPage = Callable[[bytes], int]
"""Add a page to a file, and return its number of rows."""


def search(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A place, such as LA-A1-11.")],
    where: Annotated[
        str | None, typer.Argument(metavar="EXPRESSION", help="Expression that is true for the shots.")
    ] = None,
    start: FromOption = None,
    end: ToOption = None,
    interval: IntervalOption = None,
    column: Annotated[Texts, typer.Option(help="A column to return; repeat for more.")] = None,
    derive: Annotated[Texts, typer.Option(help="A column to derive, as NAME = EXPRESSION.")] = None,
    aggregate: Annotated[
        Texts, typer.Option(help="Return this of each period: count, mean(x), percentile(x, 95) …")
    ] = None,
    every: Annotated[AggregatePeriod, typer.Option(help="The period of aggregates.")] = AggregatePeriod.HOUR,
    limit: Annotated[
        int, typer.Option(min=1, max=_ROWS_OF_PAGE, help="Maximum number of rows, without --out.")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write all rows to this .csv or .parquet file.")
    ] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Search the shots of a place by the value of any column, in order of time.

    Without a time, the last day is searched. docs/search.md describes expressions. With --json one line per
    row.

    \b
    Examples:
      shotwatch search LA-A1-11 "score > 4 and 'hot_spot' in kinds"
      shotwatch search LA-A1-11 "LA_A1_11_EM_1_EnergyMeter_1.energy < 0.9" --from 2022-07-01 --out low.parquet
      shotwatch search LA-A1-11 --aggregate count --aggregate "mean(score)" --every minute
    """
    query: dict[str, Parameter] = {
        "place": place,
        "where": where,
        "from": None if start is None else start.isoformat(),
        "to": None if end is None else end.isoformat(),
        "interval": interval,
        "columns": column or [],
        "derive": derive or [],
        "aggregate": aggregate or [],
        "every": every,
    }
    asked = {parameter: value for parameter, value in query.items() if value is not None}
    deployment = find_deployment(root, name)
    if out is not None:
        rows = asyncio.run(_save(deployment, asked, out))
        stderr.print(f"{rows} rows in {out}")
        return
    names, found = asyncio.run(_first(deployment, asked, limit))
    if not json:
        stdout.print(table(f"{len(found)} rows", names, map(_cells, found)))
        return
    for row in found:
        print_json(dict(zip(names, row, strict=True)))


async def _first(
    deployment: Deployment, query: Query, limit: int
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Return the names of the columns, and up to `limit` rows."""
    async with deployment.api(_TIMEOUT_S) as api:
        page = await api.get(_PATH, **query, limit=limit)
        rows = _rows(page)
        while page["next"] and len(rows) < limit:
            page = await api.get(_PATH, **query, limit=limit - len(rows), cursor=page["next"])
            rows += _rows(page)
    return [column["name"] for column in page["columns"]], rows


async def _save(deployment: Deployment, query: Query, out: Path) -> int:
    """Write all rows to a file, page by page, and return how many.

    Raises:
        Misuse: the name of the file has another suffix than those in _WRITERS.
    """
    if out.suffix not in _WRITERS:
        raise Misuse(f"{out} is neither .csv nor .parquet", "name the file so")
    form, write = _WRITERS[out.suffix]
    rows = 0
    with ExitStack() as opened:
        add = write(out, opened)
        async for page in _pages(deployment, {**query, "format": form}):
            rows += add(page.content)
    return rows


async def _pages(deployment: Deployment, query: Query) -> AsyncIterator[httpx.Response]:
    async with deployment.api(_TIMEOUT_S) as api:
        page = await api.get_response(_PATH, **query, limit=_ROWS_OF_PAGE)
        yield page
        while _NEXT in page.headers:
            page = await api.get_response(_PATH, **query, limit=_ROWS_OF_PAGE, cursor=page.headers[_NEXT])
            yield page


def _csv_writer(out: Path, opened: ExitStack) -> AddPage:
    file = opened.enter_context(out.open("wb"))

    def add(page: bytes) -> int:
        header, _, lines = page.partition(b"\n")
        file.write(lines if file.tell() else header + b"\n" + lines)
        return lines.count(b"\n")

    return add


def _parquet_writer(out: Path, opened: ExitStack) -> AddPage:
    writers: list[pq.ParquetWriter] = []

    def add(page: bytes) -> int:
        rows = _checked_rows(page)
        if not writers:
            writers.append(opened.enter_context(pq.ParquetWriter(out, rows.schema, compression="zstd")))
        writers[0].write_table(rows)
        return len(rows)

    return add


def _checked_rows(page: bytes) -> pa.Table:
    """Return the rows of an Arrow stream.

    Raises:
        Failure: it is not one, or its offsets lie outside of it.
    """
    try:
        rows = pa.ipc.open_stream(page).read_all().replace_schema_metadata()
        rows.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise Failure(f"the answer of the REST API is not an Arrow stream: {error}") from error
    return rows


_WRITERS: Mapping[str, tuple[str, Callable[[Path, ExitStack], AddPage]]] = {
    ".csv": ("csv", _csv_writer),
    ".parquet": ("arrow", _parquet_writer),
}
"""Suffix of a file → the format that is asked for, and what writes it."""


def _rows(page: Answer) -> list[tuple[object, ...]]:
    return list(zip(*(column["values"] for column in page["columns"]), strict=True))


def _cells(row: Sequence[object]) -> list[object]:
    return [_cell(value) for value in row]


def _cell(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else value
