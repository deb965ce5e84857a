"""Tables of shots: search by value, derived columns, and aggregates by time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Query, Response

from shotwatch_query.access.guard import Known
from shotwatch_query.answers import Responses, streamed
from shotwatch_query.domain.pages import PageCursor, Position, Span
from shotwatch_query.domain.tables import table_arrow, table_csv, table_json, table_parquet
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.expressions import PLACE, TableQuestion
from shotwatch_query.reservation import Room
from shotwatch_query.routes.tables.cost import MOST_RETURNED, require_affordable, require_few_days, reserve
from shotwatch_query.routes.tables.parameters import ColumnParameters, TableFormat, TableParameters
from shotwatch_query.routes.tables.places import (
    PlaceSearch,
    aggregates_of,
    find_series,
    left_of,
    rows_of,
)
from shotwatch_query.routes.tables.schemas import ColumnCatalogue, TableColumnDocument, TableDocument
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.place import Place
from shotwatch_tables.aggregation import with_values
from shotwatch_tables.schema import TableColumn
from shotwatch_tables.search import TableSearch

router = APIRouter(prefix="/tables/shots", tags=["shots"])

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
    """Return the shots of places for which an expression is true, with any columns, in order of time.

    Shots of closed hours are read from files, newer ones from the database; each shot comes once. Without
    `to` the search ends with the newest record of any device; without `from` it begins a day earlier.
    If there are several places, the rows come place by place, and have the place as their first column.
    """
    series = find_series(sources.facility, asked.place, asked.interval)
    page = await _page_of(sources, asked)
    require_few_days(page.span, len(series))
    left = list(left_of(series, page.span, page.after)) or [(series[-1], page.span.end)]
    async with sources.limits.searches.turn_of(caller.name):
        questions = await asyncio.to_thread(_questions, sources, asked, [each.place for each in series])
        searches = [
            await _planned(sources, each, questions[each.place], Span(start, page.span.end))
            for each, start in left
        ]
        require_affordable(searches, asked.every)
        question = searches[0].question
        limit = min(asked.limit, MOST_RETURNED // len(question.columns))
        await reserve(room, searches, limit)
        if question.aggregates:
            table = await aggregates_of(sources.tables, searches, asked.every)
            return await _written(asked.form, series, question, table, None)
        rows, following = await rows_of(sources.tables, searches, limit)
    cursor = None if following is None else PageCursor(page.span, following).encode()
    return await _written(asked.form, series, question, rows, cursor)


@router.get("/columns", summary="Columns of a table", responses={404: {}})
async def list_columns(sources: From, asked: Annotated[ColumnParameters, Query()]) -> ColumnCatalogue:
    """Return the columns of the table of a place, with their units and meanings."""
    if all(each.place != asked.place for each in sources.facility.places):
        raise NotFound(f"{sources.facility.name} has no place {asked.place}; /facility lists what it has")
    columns = map(_described, sources.tables.schema(asked.place).columns)
    return ColumnCatalogue(place=asked.place, columns=list(columns))


def _questions(
    sources: ApiSources, asked: TableParameters, places: Sequence[Place]
) -> dict[Place, TableQuestion]:
    schemas = {place: sources.tables.schema(place) for place in places}
    parts = asked.where, asked.derive, asked.columns, asked.aggregate
    return {
        place: TableQuestion.parse(schema, *parts, of_several=len(places) > 1)
        for place, schema in schemas.items()
    }


async def _planned(
    sources: ApiSources, expected: ExpectedDevices, question: TableQuestion, span: Span
) -> PlaceSearch:
    period = sources.facility.interval(expected.interval).period_ms
    search = TableSearch(span.start, span.end, expected.interval, period, question.where, question.derived)
    plan = await sources.tables.plan(expected.place, with_values(search, question.aggregates))
    return PlaceSearch(expected.place, question, plan)


async def _page_of(sources: ApiSources, asked: TableParameters) -> PageCursor:
    try:
        if asked.cursor is not None:
            return PageCursor.decode(asked.cursor)
    except ValueError as error:
        raise BadRequest(f"cursor: {error}") from error
    span = asked.span(await sources.end_of_data())
    return PageCursor(span, Position(span.start, ""))


async def _written(
    form: TableFormat,
    series: Sequence[ExpectedDevices],
    question: TableQuestion,
    table: pa.Table,
    following: str | None,
) -> Response:
    (only,) = series if len(series) == 1 else (None,)
    about = {
        "place": str(only.place) if only else None,
        "interval": only.interval if only else None,
        "next": following,
    }
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
            response = Response(await asyncio.to_thread(table_parquet, table), media_type=PARQUET_TYPE)
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
    known = {PLACE.name: PLACE, **question.schema.by_name}
    return [
        _described(known[name]).model_dump()
        if name in known
        else {"name": name, "unit": "", "description": question.texts.get(name, name)}
        for name in names
    ]


def _described(column: TableColumn) -> TableColumnDocument:
    return TableColumnDocument(name=column.name, unit=column.unit, description=column.description)
