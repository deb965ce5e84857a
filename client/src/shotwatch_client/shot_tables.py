"""Tables of shots: pages of an Arrow stream as one DataFrame."""

from collections.abc import Iterator, Sequence
from typing import Literal

import pandas as pd
import pyarrow as pa

from shotwatch_client.errors import InvalidArgument, UnexpectedAnswer
from shotwatch_client.pages import require_few_empty
from shotwatch_client.rest import Rest, Value, describe
from shotwatch_client.shot_list import MOST_SHOTS
from shotwatch_client.tables import COLUMNS, TIME, table
from shotwatch_client.times import Time, optional_ms

PATH = "/tables/shots"
ROWS_OF_PAGE = 100_000
"""Number of rows that are asked for at a time, the maximum of the API."""
MOST_PAGE_BYTES = 256 * 2**20
"""Maximum size of a page: the server returns at most two million values."""
_NEXT = b"next"


class ShotTable:
    """The table of a place: a row for each shot, and a column for each feature of each device.

    Of several places, it has the columns that all of them have, and `place` as the first one.
    """

    def __init__(self, rest: Rest, place: str | Sequence[str], interval: str | None) -> None:
        self._rest = rest
        places = [place] if isinstance(place, str) else list(place)
        self._series: dict[str, Value] = {"place": places, "interval": interval}

    def columns(self) -> pd.DataFrame:
        """Return the columns of one place: `column` (the name), `unit`, `description`.

        Raises:
            NoData: there is no such place.
            ShotwatchError: the server does not answer, or refuses.
        """
        answer = self._rest.get(f"{PATH}/columns", place=self._series["place"])
        return table(answer.rows("columns"), COLUMNS)

    def shots(
        self,
        start: Time | None = None,
        end: Time | None = None,
        *,
        where: str | None = None,
        columns: Sequence[str] = (),
        derive: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Return shots, oldest first: `shot`, `time`, then the columns asked for, then derived ones.

        If no columns are asked for, they are `score`, `kinds` and those that the expressions read.

        Args:
            start: from this time on; by default a day before `end`.
            end: before this time; by default the end of the data.
            where: only shots for which this expression is true. docs/search.md describes expressions.
            columns: names of columns; `columns()` lists them.
            derive: columns to derive, such as `smooth = rolling_mean(score, 20)`.

        Raises:
            NoData: there is no such place.
            NotAccepted: an expression is wrong, and the error shows where; or the search costs too much.
            InvalidArgument: a time has no time zone, or there are more than a million shots.
            ShotwatchError: the server does not answer, or refuses.
        """
        query = self._query(start, end, where, derive) | {"columns": list(columns), "limit": ROWS_OF_PAGE}
        found, count = [], 0
        for page in _pages(self._rest, query):
            count += len(page)
            if count > MOST_SHOTS:
                reported = f"there are more than {MOST_SHOTS:,} shots"
                raise InvalidArgument("start, end, where", reported, "Narrow the span or the filter")
            found.append(page)
        return as_frame(pa.concat_tables(found))

    def aggregates(
        self,
        aggregates: str | Sequence[str],
        start: Time | None = None,
        end: Time | None = None,
        *,
        every: Literal["minute", "hour", "day"] = "hour",
        where: str | None = None,
        derive: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Return aggregates of the shots of each period (UTC) that has any, indexed by its start.

        Args:
            aggregates: `count`; or `count`, `mean`, `std`, `min`, `max` or `median` of an expression, such as
                `mean(score)`; or `percentile(score, 95)`. Each is a column.
            start: as for `shots`.
            end: as for `shots`.
            every: the period.
            where: as for `shots`.
            derive: as for `shots`.

        Raises NoData, NotAccepted and ShotwatchError as `shots` does.
        """
        asked = [aggregates] if isinstance(aggregates, str) else list(aggregates)
        query = self._query(start, end, where, derive) | {"aggregate": asked, "every": every}
        return as_frame(next(_pages(self._rest, query))).set_index("time")

    def _query(
        self, start: Time | None, end: Time | None, where: str | None, derive: Sequence[str]
    ) -> dict[str, Value]:
        span = {"from": optional_ms(start, "start"), "to": optional_ms(end, "end")}
        return self._series | span | {"where": where, "derive": list(derive)}


def require_by_value(**arguments: object) -> None:
    """Require that a search by value has `place` and none of the other arguments.

    Raises:
        InvalidArgument: `place` is missing, or another argument is given.
    """
    if arguments.pop("place") is None:
        raise InvalidArgument("place", "a search by value is of one place", "Name it")
    for name, value in arguments.items():
        if value is not None:
            reported = "it does not go with where, columns and derive"
            raise InvalidArgument(name, reported, "Write it as a part of `where`, or narrow the span")


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Return a table with times in UTC, lists as tuples, and missing numbers as NaN.

    `attrs["units"]` has the unit of each column that has one.
    """
    frame: pd.DataFrame = rows.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    for field in rows.schema:
        if pa.types.is_timestamp(field.type):
            frame[field.name] = frame[field.name].astype(TIME)
        elif pa.types.is_list(field.type):
            frame[field.name] = [() if each is None else tuple(each) for each in frame[field.name]]
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in rows.schema}
    frame.attrs["units"] = {name: unit for name, unit in units.items() if unit}
    return frame


def _pages(rest: Rest, query: dict[str, Value]) -> Iterator[pa.Table]:
    cursor, empty = None, 0
    while True:
        asked = {**query, "format": "arrow", "cursor": cursor}
        data = rest.get_bytes(PATH, MOST_PAGE_BYTES, **asked)
        try:
            page = pa.ipc.open_stream(data).read_all()
            page.validate(full=True)  # pandas would read outside of memory where an offset is wrong
        except (pa.ArrowException, OSError) as error:
            reported = f"the answer is not an Arrow stream: {error}"
            raise UnexpectedAnswer(describe("GET", PATH, asked), reported) from error
        empty += not len(page)
        require_few_empty(empty, describe("GET", PATH, asked))
        yield page
        following = (page.schema.metadata or {}).get(_NEXT)
        if following is None:
            return
        cursor = following.decode()
