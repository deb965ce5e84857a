"""Tables of shots: search by value, derived columns, and aggregates by time."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Query, Response

from shotwatch_common.tables.aggregation import PeriodTooLong, aggregated, with_values
from shotwatch_common.tables.parts import TablePart
from shotwatch_common.tables.schema import TableColumn
from shotwatch_common.tables.search import TablePage, TableSearch, first_rows
from shotwatch_query.access.guard import Known
from shotwatch_query.answers import LargeResponse, Responses, streamed
from shotwatch_query.domain.pages import PageCursor, Position
from shotwatch_query.domain.tables import table_arrow, table_csv, table_json, table_parquet
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.expressions import TableQuestion
from shotwatch_query.reservation import Room
from shotwatch_query.routes.tables.cost import MOST_RETURNED, require_affordable, require_few_days, reserve
from shotwatch_query.routes.tables.parameters import ColumnParameters, TableFormat, TableParameters
from shotwatch_query.routes.tables.schemas import ColumnCatalogue, TableColumnDocument, TableDocument
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.expressions.aggregates import AggregatePeriod
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import Place

router = APIRouter(prefix="/tables/shots", tags=["shots"])

PAGE_S = 5.0
"""Time after which a page ends with what it has."""
AGGREGATES_S = 30.0
"""Time after which aggregates are given up."""

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
    },
    404: {},
}


@router.get("", summary="Search shots by value", response_class=Response, responses=TABLE_RESPONSES)
async def search_table(
    sources: From, room: Room, caller: Known, asked: Annotated[TableParameters, Query()]
) -> Response:
    """Return the shots of a place for which an expression is true, with any columns, in order of time.

    Shots of closed hours are read from files, newer ones from the database; each shot comes once. Without
    `to` the search ends with the newest record of any device; without `from` it begins a day earlier.
    """
    expected = find_series(sources.facility, asked.place, asked.interval)
    question = TableQuestion.parse(
        sources.tables.schema(expected.place), asked.where, asked.derive, asked.columns, asked.aggregate
    )
    page = await _page_of(sources, asked)
    require_few_days(page.span)
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
    limit = min(asked.limit, MOST_RETURNED // len(question.columns))
    async with sources.limits.searches.turn_of(caller.name):
        plan = await sources.tables.plan(expected.place, search)
        require_affordable(plan, question, asked.every)
        await reserve(room, plan, question, limit)
        if question.aggregates:
            table = await sources.tables.run(plan, partial(_aggregates, search, question, asked.every))
            return await _written(asked.form, expected, question, table, None)
        found = await sources.tables.run(plan, partial(_rows, search, question, limit))
    following = None if found.next_ms is None else PageCursor(page.span, Position(found.next_ms, "")).encode()
    return await _written(asked.form, expected, question, found.rows, following)


@router.get("/columns", summary="Columns of a table", responses={404: {}})
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


async def _page_of(sources: ApiSources, asked: TableParameters) -> PageCursor:
    try:
        if asked.cursor is not None:
            return PageCursor.decode(asked.cursor)
    except ValueError as error:
        raise BadRequest(f"cursor: {error}") from error
    span = asked.span(await sources.end_of_data())
    return PageCursor(span, Position(span.start, ""))


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
        return aggregated(search, _in_time(parts), question.aggregates, every.length_ms)
    except PeriodTooLong as error:
        raise BadRequest(f"aggregate: {error}; ask for fewer, or for shorter periods by `every`") from error


def _in_time(parts: Iterator[TablePart]) -> Iterator[TablePart]:
    over_at = monotonic() + AGGREGATES_S
    for part in parts:
        if monotonic() > over_at:
            raise BadRequest(f"from, to: this takes more than {AGGREGATES_S:g} s; ask for a shorter span")
        yield part


async def _written(
    form: TableFormat,
    expected: ExpectedDevices,
    question: TableQuestion,
    table: pa.Table,
    following: str | None,
) -> Response:
    about = {"place": str(expected.place), "interval": expected.interval, "next": following}
    described = _descriptions(question, table.column_names)
    table = _with_metadata(table, described, about)
    response: Response
    match form:
        case TableFormat.JSON:
            response = streamed(table_json(table, about, described), "application/json")
        case TableFormat.CSV:
            response = streamed(table_csv(table), "text/csv")
        case TableFormat.ARROW:
            response = streamed(table_arrow(table), ARROW_TYPE)
        case TableFormat.PARQUET:
            response = LargeResponse(await asyncio.to_thread(table_parquet, table), media_type=PARQUET_TYPE)
    if following is not None:
        response.headers[NEXT_HEADER] = following
    return response


def _with_metadata(
    table: pa.Table, described: Sequence[Mapping[str, str]], about: Mapping[str, str | None]
) -> pa.Table:
    """Return the table with the descriptions of the columns, and its own without what is None."""
    fields = [
        field.with_metadata({"unit": each["unit"], "description": each["description"]})
        for field, each in zip(table.schema, described, strict=True)
    ]
    own = {name: value for name, value in about.items() if value is not None}
    return table.cast(pa.schema(fields, own))


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
