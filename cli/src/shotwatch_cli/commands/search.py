"""`shotwatch search`: shots by the value of any column."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

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

_PATH, _SEARCHES = "/tables/shots", "/tables/searches"
_SAVED = "@"
"""Begins the name of a saved search where a place could be."""
_TIMEOUT_S = 60.0
"""Longer than the server computes: it gives aggregates up after half a minute."""
_ROWS_OF_PAGE = 100_000
_NEXT = "X-Next-Cursor"

Query = Mapping[str, Parameter]
Texts = list[str] | None
AddPage = Callable[[bytes], int]
"""Add a page to a file, and return its number of rows."""


def search(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE", help="A place or area, such as LA-A1-11 or LA; several with commas; or @SAVED."
        ),
    ],
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
    every: Annotated[
        AggregatePeriod | None, typer.Option(help="The period of aggregates; an hour by default.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=_ROWS_OF_PAGE, help="Maximum number of rows, without --out.")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write all rows to this .csv or .parquet file.")
    ] = None,
    save: Annotated[str | None, typer.Option(metavar="NAME", help="Save the search, for @NAME.")] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """Search the shots of places by the value of any column, in order of time.

    Without a time, the last day is searched. docs/search.md describes expressions. With --json one line per
    row.

    \b
    Examples:
      shotwatch search LA-A1-11 "score > 4 and 'hot_spot' in kinds"
      shotwatch search LA-A1-11 "LA_A1_11_EM_1_EnergyMeter_1.energy < 0.9" --from 2022-07-01 --out low.parquet
      shotwatch search LA,LB "severity = 'critical'" --save critical
      shotwatch search @critical --from 2022-07-01
      shotwatch search LA-A1-11 --aggregate count --aggregate "mean(score)" --every minute
    """
    given: dict[str, Parameter] = {
        "place": [] if place.startswith(_SAVED) else place.split(","),
        "where": where,
        "interval": interval,
        "columns": column or [],
        "derive": derive or [],
        "aggregate": aggregate or [],
        "every": every,
    }
    deployment = find_deployment(root, name)
    search: dict[str, Parameter] = {parameter: value for parameter, value in given.items() if value}
    if place.startswith(_SAVED):
        search = {**asyncio.run(_saved(deployment, place.removeprefix(_SAVED))), **search}
    if save is not None:
        asyncio.run(_keep(deployment, save, search))
    span = {"from": start, "to": end}
    asked = {**search, **{which: time.isoformat() for which, time in span.items() if time is not None}}
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


def searches(
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Remove this one.")] = None,
    name: NameOption = None,
    root: RootOption = ROOT,
    json: JsonOption = False,
) -> None:
    """List the searches that you saved by `shotwatch search --save`.

    \b
    Examples:
      shotwatch searches
      shotwatch searches --remove critical
    """
    found = asyncio.run(_listed(find_deployment(root, name), remove))
    if json:
        for each in found:
            print_json(each)
        return
    rows = [(each["name"], ",".join(each["search"]["place"]), each["search"]["where"]) for each in found]
    stdout.print(table(f"{len(found)} searches", ("name", "place", "where"), rows))


async def _listed(deployment: Deployment, remove: str | None) -> list[Answer]:
    """Return the saved searches, after the removal of one."""
    async with deployment.api(_TIMEOUT_S) as api:
        if remove is not None:
            await api.delete(_saved_path(remove))
        found: list[Answer] = (await api.get(_SEARCHES))["searches"]
        return found


async def _saved(deployment: Deployment, name: str) -> dict[str, Parameter]:
    """Return the parameters of a saved search."""
    async with deployment.api(_TIMEOUT_S) as api:
        found = await api.get(_saved_path(name))
    return {parameter: value for parameter, value in found["search"].items() if value}


async def _keep(deployment: Deployment, name: str, search: Query) -> None:
    async with deployment.api(_TIMEOUT_S) as api:
        await api.put(_saved_path(name), search)


def _saved_path(name: str) -> str:
    return f"{_SEARCHES}/{quote(name, safe='')}"


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
