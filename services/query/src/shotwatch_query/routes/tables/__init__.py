"""Tables of shots: search by value, derived columns, and aggregates by time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Annotated, ClassVar

import pyarrow as pa
from fastapi import APIRouter, Query, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.tables.aggregation import MOST_VALUES as MOST_OF_PERIOD
from shotwatch_common.tables.aggregation import PeriodTooLong, aggregated, with_values
from shotwatch_common.tables.parts import TablePart
from shotwatch_common.tables.schema import TableColumn
from shotwatch_common.tables.search import TablePage, TableSearch, first_rows
from shotwatch_query.answers import LargeResponse, Responses, streamed
from shotwatch_query.domain.pages import DAY_MS, HOUR_MS, LONGEST_CURSOR, PageCursor, Position, Span
from shotwatch_query.domain.tables import table_arrow, table_csv, table_json, table_parquet
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.expressions import TableQuestion
from shotwatch_query.parameters import Parameters, SpanParameters
from shotwatch_query.reservation import Reservation, Room
from shotwatch_query.routes.tables.schemas import ColumnCatalogue, TableColumnDocument, TableDocument
from shotwatch_query.shot_tables import TablePlan
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.expressions.parser import LONGEST
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import Place

router = APIRouter(prefix="/tables/shots", tags=["shots"])

MOST_READ = 300_000_000
"""Maximum number of values that a search reads to find its rows: 30 days of a place at 10 Hz, 11 columns."""
MOST_DAYS = 400
"""Maximum length of the span that is searched."""
MOST_RETURNED = 2_000_000
"""Maximum number of values in a response."""
MOST_PERIODS = 50_000
"""Maximum number of rows of aggregates: a month of minutes."""
ROWS_OF_PART = 65_536
"""Number of rows that are in memory at a time while a table is read."""
BYTES_PER_VALUE = 16
"""Memory per value of a table while it is read, with its copy."""
PAGE_S = 5.0
"""Time after which a page ends with what it has."""
AGGREGATES_S = 30.0
"""Time after which aggregates are given up."""
MINUTE_MS = 60_000


class TableFormat(StrEnum):
    """The file formats of tables."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


class AggregatePeriod(StrEnum):
    """The period of which shots are aggregated."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


_PERIODS_MS = {AggregatePeriod.MINUTE: MINUTE_MS, AggregatePeriod.HOUR: HOUR_MS, AggregatePeriod.DAY: DAY_MS}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
PARQUET_TYPE, ARROW_TYPE = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
NEXT_HEADER = "X-Next-Cursor"
TABLE_RESPONSES: Responses = {
    200: {
        "description": "The table in the format asked for.",
        "model": TableDocument,
        "headers": {
            NEXT_HEADER: {
                "description": "Cursor of the next page, if there is one.",
                "schema": {"type": "string"},
            }
        },
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            PARQUET_TYPE: _BINARY,
            ARROW_TYPE: _BINARY,
        },
    }
}
_EXPRESSION = "docs/search.md has the grammar."


class ColumnParameters(Parameters):
    """The place whose columns are requested."""

    place: Place = Field(description="A place; `/facility` lists them.", examples=["LA-A1-11"])


class TableParameters(SpanParameters):
    """The rows and columns that are requested."""

    default_ms: ClassVar[int] = DAY_MS
    place: Place = Field(description="A place; `/facility` lists them.", examples=["LA-A1-11"])
    interval: str | SkipJsonSchema[None] = Field(
        None, description="Of a place that is recorded at several.", examples=["100ms"]
    )
    where: str | SkipJsonSchema[None] = Field(
        None,
        max_length=LONGEST,
        description=f"Only shots for which this expression is true. {_EXPRESSION}",
        examples=["score > 4 and LA_A1_11_EM_1_EnergyMeter_1.energy < 0.9"],
    )
    columns: list[str] = Field(
        [], max_length=100, description="Columns to return after `shot` and `time`; repeat for more."
    )
    derive: list[str] = Field(
        [],
        max_length=10,
        description=f"Columns to derive, as `name = expression`; repeat for more. {_EXPRESSION}",
        examples=[["smooth = rolling_mean(score, 20)"]],
    )
    aggregate: list[str] = Field(
        [],
        max_length=20,
        description="Return these of each period instead of rows: `count`, or `count`, `mean`, `std`, `min`, "
        "`max`, `median` of `(x)`, or `percentile(x, 95)`.",
        examples=[["count", "mean(score)"]],
    )
    every: AggregatePeriod = Field(AggregatePeriod.HOUR, description="The period of aggregates, in UTC.")
    limit: int = Field(1000, ge=1, le=100_000, description="Maximum number of rows of a page.")
    cursor: str | SkipJsonSchema[None] = Field(
        None,
        max_length=LONGEST_CURSOR,
        description="`next` of the page before. It holds the span too: `from` and `to` no longer count.",
    )
    form: TableFormat = Field(TableFormat.JSON, alias="format", description="How the table is written.")


@router.get("", summary="Search shots by value", response_class=Response, responses=TABLE_RESPONSES)
async def search_table(sources: From, room: Room, asked: Annotated[TableParameters, Query()]) -> Response:
    """Return the shots of a place for which an expression is true, with any columns, in order of time.

    Shots of closed hours are read from files, newer ones from the database; each shot comes once. Without
    `to` the search ends with the newest record of any device; without `from` it begins a day earlier.
    """
    expected = find_series(sources.facility, asked.place, asked.interval)
    question = TableQuestion.parse(
        sources.tables.schema(expected.place), asked.where, asked.derive, asked.columns, asked.aggregate
    )
    page = await _page_of(sources, asked)
    _require_few_days(page.span)
    search = with_values(
        TableSearch(
            max(page.span.start, page.after.time),
            page.span.end,
            expected.interval,
            sources.facility.interval(expected.interval).period_ms,
            question.where,
            question.derived,
        ),
        question.aggregates,
    )
    plan = await sources.tables.plan(expected.place, search)
    require_affordable(plan, question, asked)
    await _reserve(room, plan, question, asked)
    if question.aggregates:
        table = await sources.tables.run(plan, partial(_aggregates, search, question, asked.every))
        return _written(asked.form, expected, question, table, None)
    found = await sources.tables.run(plan, partial(_rows, search, question, asked.limit))
    following = None if found.next_ms is None else PageCursor(page.span, Position(found.next_ms, "")).encode()
    return _written(asked.form, expected, question, found.rows, following)


@router.get("/columns", summary="Columns of a table")
async def list_columns(sources: From, asked: Annotated[ColumnParameters, Query()]) -> ColumnCatalogue:
    """Return the columns of the table of a place, with their units and meanings."""
    if all(each.place != asked.place for each in sources.facility.places):
        raise NotFound(f"{sources.facility.name} has no place {asked.place}; /facility lists what it has")
    columns = map(_described, sources.tables.schema(asked.place).columns)
    return ColumnCatalogue(place=asked.place, columns=list(columns))


def find_series(facility: Facility, place: Place, interval: str | None) -> ExpectedDevices:
    """Return a place, with its interval.

    Raises:
        NotFound: the facility has no such place, or not at this interval.
        BadRequest: it is recorded at several intervals, and none is given.
    """
    found = [each for each in facility.places if each.place == place and interval in (None, each.interval)]
    if not found:
        raise NotFound(f"{facility.name} has no place {place}; /facility lists what it has")
    if len(found) > 1:
        known = ", ".join(each.interval for each in found)
        raise BadRequest(f"interval: {place} is recorded at several: {known}")
    return found[0]


def _require_few_days(span: Span) -> None:
    """Require a span of at most MOST_DAYS: there is a manifest to read for each day.

    Raises:
        BadRequest: it is longer.
    """
    if span.end - span.start > MOST_DAYS * DAY_MS:
        raise BadRequest(f"from, to: more than {MOST_DAYS} days; ask for a shorter span")


def require_affordable(plan: TablePlan, question: TableQuestion, asked: TableParameters) -> None:
    """Require that a search reads, and returns, no more than the limits.

    Raises:
        BadRequest: it does; the message names the numbers and what to ask for instead.
    """
    values = plan.rows * (len(plan.search.inputs) + question.window_values)
    if values > MOST_READ:
        raise BadRequest(
            f"from, to: {plan.rows:,} shots would be searched and {values:,} values read, more than "
            f"{MOST_READ:,}; ask for a shorter span, fewer columns in expressions, or shorter windows"
        )
    if question.aggregates:
        _require_few_periods(plan.search, question, asked.every)
    elif asked.limit * len(question.columns) > MOST_RETURNED:
        most = MOST_RETURNED // len(question.columns)
        raise BadRequest(f"limit: more than {MOST_RETURNED:,} values; with these columns {most} at most")


def _require_few_periods(search: TableSearch, question: TableQuestion, every: AggregatePeriod) -> None:
    period = _PERIODS_MS[every]
    if (search.end_ms - search.start_ms) // period > MOST_PERIODS:
        raise BadRequest(f"from, to: more than {MOST_PERIODS:,} periods; ask for longer ones by `every`")
    if period // search.period_ms * (1 + len(question.aggregates)) > MOST_OF_PERIOD:
        raise BadRequest(
            f"aggregate: a {every} would have more than {MOST_OF_PERIOD:,} values; ask for fewer"
        )


async def _page_of(sources: ApiSources, asked: TableParameters) -> PageCursor:
    try:
        if asked.cursor is not None:
            return PageCursor.decode(asked.cursor)
    except ValueError as error:
        raise BadRequest(f"cursor: {error}") from error
    span = asked.span(await sources.end_of_data())
    return PageCursor(span, Position(span.start, ""))


async def _reserve(
    room: Reservation, plan: TablePlan, question: TableQuestion, asked: TableParameters
) -> None:
    """Reserve the memory for the part that is read, and for the response or the values of a period."""
    held = MOST_OF_PERIOD // 2 if question.aggregates else 4 * asked.limit * len(question.columns)
    columns = len(question.columns) + len(plan.search.inputs)
    await room.bytes(BYTES_PER_VALUE * (ROWS_OF_PART * columns + held))


def _rows(search: TableSearch, question: TableQuestion, limit: int, parts: Iterator[TablePart]) -> TablePage:
    over_at = monotonic() + PAGE_S
    return first_rows(search, parts, question.arrow, limit, lambda: monotonic() > over_at)


def _aggregates(
    search: TableSearch, question: TableQuestion, every: AggregatePeriod, parts: Iterator[TablePart]
) -> pa.Table:
    """Return the aggregates of a search.

    Raises:
        BadRequest: they take too long or too much memory.
    """
    try:
        return aggregated(search, _in_time(parts), question.aggregates, _PERIODS_MS[every])
    except PeriodTooLong as error:
        raise BadRequest(f"aggregate: {error}; ask for fewer, or for shorter periods by `every`") from error


def _in_time(parts: Iterator[TablePart]) -> Iterator[TablePart]:
    over_at = monotonic() + AGGREGATES_S
    for part in parts:
        if monotonic() > over_at:
            raise BadRequest(f"from, to: this takes more than {AGGREGATES_S:g} s; ask for a shorter span")
        yield part


def _written(
    form: TableFormat,
    expected: ExpectedDevices,
    question: TableQuestion,
    table: pa.Table,
    following: str | None,
) -> Response:
    about = {"place": str(expected.place), "interval": expected.interval, "next": following}
    write: Mapping[TableFormat, Callable[[], Response]] = {
        TableFormat.JSON: lambda: streamed(
            table_json(table, about, _descriptions(question, table.column_names)), "application/json"
        ),
        TableFormat.CSV: lambda: streamed(table_csv(table), "text/csv"),
        TableFormat.ARROW: lambda: streamed(table_arrow(table), ARROW_TYPE),
        TableFormat.PARQUET: lambda: LargeResponse(table_parquet(table), media_type=PARQUET_TYPE),
    }
    response = write[form]()
    if following is not None:
        response.headers[NEXT_HEADER] = following
    return response


def _descriptions(question: TableQuestion, names: Sequence[str]) -> list[dict[str, str]]:
    """Return the properties of columns; those of derived and aggregated columns are their expressions."""
    known = question.schema.by_name
    return [
        _described(known[name]).model_dump()
        if name in known
        else {"name": name, "unit": "", "description": question.texts.get(name, name)}
        for name in names
    ]


def _described(column: TableColumn) -> TableColumnDocument:
    return TableColumnDocument(name=column.name, unit=column.unit, description=column.description)
