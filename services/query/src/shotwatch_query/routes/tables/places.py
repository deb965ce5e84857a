"""Searches of one place or several: each place is searched by itself, one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

import pyarrow as pa

from shotwatch_query.domain.pages import Position, Span
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.expressions import PLACE, TableQuestion
from shotwatch_query.shot_tables import ShotTables, TablePlan
from shotwatch_shots.expressions.aggregates import AggregatePeriod
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import Place
from shotwatch_tables.aggregation import PeriodTooLong, aggregated
from shotwatch_tables.parts import TablePart
from shotwatch_tables.search import TablePage, first_rows

PAGE_S = 5.0
"""Time after which a page ends with what it has."""
AGGREGATES_S = 30.0
"""Time after which aggregates are given up."""


@dataclass(frozen=True, slots=True)
class PlaceSearch:
    """The search of one place."""

    place: Place
    question: TableQuestion
    plan: TablePlan


def find_series(facility: Facility, places: Sequence[Place], interval: str | None) -> list[ExpectedDevices]:
    """Return the places that are asked for, or lie in the areas that are, each with its interval, by name.

    Raises:
        NotFound: the facility has no such place, or not at this interval.
        BadRequest: one is recorded at several intervals, and none is given.
    """
    found: dict[Place, ExpectedDevices] = {}
    for asked in places:
        within = [each for each in facility.places if each.place.is_within(asked)]
        series = [each for each in within if interval in (None, each.interval)]
        if not series:
            raise NotFound(f"{facility.name} has no place {asked}; /facility lists what it has")
        for place in {each.place for each in series}:
            known = [each for each in series if each.place == place]
            if len(known) > 1:
                intervals = ", ".join(each.interval for each in known)
                raise BadRequest(f"interval: {place} is recorded at several: {intervals}")
            found[place] = known[0]
    return [found[place] for place in sorted(found, key=str)]


def left_of(
    series: Sequence[ExpectedDevices], span: Span, after: Position
) -> Iterator[tuple[ExpectedDevices, int]]:
    """Yield the places that a page still has to search, each with the time at which it begins (epoch ms).

    `after` has the place at which the page begins, or none if only one is searched.
    """
    for each in series:
        if not after.id or str(each.place) == after.id:
            yield each, max(span.start, after.time)
        elif str(each.place) > after.id:
            yield each, span.start


async def rows_of(
    tables: ShotTables, searches: Sequence[PlaceSearch], limit: int
) -> tuple[pa.Table, Position | None]:
    """Return up to `limit` rows, place by place, and where the next page begins; None if there is none."""
    over_at, found = monotonic() + PAGE_S, list[pa.Table]()
    for one in searches:
        count = limit - sum(map(len, found))
        if found and (not count or monotonic() > over_at):
            return pa.concat_tables(found), Position(one.plan.search.start_ms, str(one.place))
        page = await tables.run(one.plan, partial(_rows, one, count, over_at))
        found.append(_of_place(one, page.rows))
        if page.next_ms is not None:
            return pa.concat_tables(found), Position(page.next_ms, _named(one))
    return pa.concat_tables(found), None


async def aggregates_of(
    tables: ShotTables, searches: Sequence[PlaceSearch], every: AggregatePeriod
) -> pa.Table:
    """Return the aggregates of each place, place by place.

    Raises:
        BadRequest: they take too long or too much memory.
    """
    over_at = monotonic() + AGGREGATES_S
    found = [
        _of_place(one, await tables.run(one.plan, partial(_aggregates, one, every, over_at)))
        for one in searches
    ]
    return pa.concat_tables(found)


def _rows(one: PlaceSearch, limit: int, over_at: float, parts: Iterator[TablePart]) -> TablePage:
    return first_rows(one.plan.search, parts, one.question.arrow, limit, lambda: monotonic() > over_at)


def _aggregates(
    one: PlaceSearch, every: AggregatePeriod, over_at: float, parts: Iterator[TablePart]
) -> pa.Table:
    question, search = one.question, one.plan.search
    try:
        return aggregated(search, _in_time(parts, over_at), question.aggregates, every.length_ms)
    except PeriodTooLong as error:
        raise BadRequest(f"aggregate: {error}; ask for fewer, or for shorter periods by `every`") from error


def _in_time(parts: Iterator[TablePart], over_at: float) -> Iterator[TablePart]:
    for part in parts:
        if monotonic() > over_at:
            raise BadRequest(f"from, to: this takes more than {AGGREGATES_S:g} s; ask for a shorter span")
        yield part


def _named(one: PlaceSearch) -> str:
    return str(one.place) if one.question.of_several else ""


def _of_place(one: PlaceSearch, rows: pa.Table) -> pa.Table:
    """Return the rows with their place as the first column, if several places are searched."""
    if not one.question.of_several:
        return rows
    return rows.add_column(0, PLACE.name, pa.repeat(pa.scalar(str(one.place)), len(rows)))
