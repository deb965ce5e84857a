"""The parameters of requests for tables of shots."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_query.domain.pages import LONGEST_CURSOR
from shotwatch_query.parameters import Parameters, SpanParameters
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.expressions.aggregates import AggregatePeriod
from shotwatch_shots.expressions.reader import LONGEST
from shotwatch_shots.place import Place
from shotwatch_shots.saved_search import MOST_AGGREGATES, MOST_COLUMNS, MOST_DERIVED, MOST_PLACES


class TableFormat(StrEnum):
    """The file formats of tables."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


_EXPRESSION = "docs/search.md has the grammar."


class ColumnParameters(Parameters):
    """The place whose columns are requested."""

    place: Place = Field(description="A place; `/facility` lists them.", examples=["LA-A1-11"])


class TableParameters(SpanParameters):
    """The rows and columns that are requested."""

    default_ms: ClassVar[int] = DAY_MS
    place: list[Place] = Field(
        min_length=1,
        max_length=MOST_PLACES,
        description="A place, or an area: all places that begin so. Repeat for more. `/facility` lists them.",
        examples=[["LA-A1-11"]],
    )
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
        [], max_length=MOST_COLUMNS, description="Columns to return after `shot` and `time`; repeat for more."
    )
    derive: list[str] = Field(
        [],
        max_length=MOST_DERIVED,
        description=f"Columns to derive, as `name = expression`; repeat for more. {_EXPRESSION}",
        examples=[["smooth = rolling_mean(score, 20)"]],
    )
    aggregate: list[str] = Field(
        [],
        max_length=MOST_AGGREGATES,
        description="Return these of each period instead of rows: `count`, or `count`, `mean`, `std`, `min`, "
        "`max`, `median` of `(x)`, or `percentile(x, 95)`.",
        examples=[["count", "mean(score)"]],
    )
    every: AggregatePeriod = Field(AggregatePeriod.HOUR, description="The period of aggregates, in UTC.")
    limit: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Maximum number of rows of a page; it has two million values at most.",
    )
    cursor: str | SkipJsonSchema[None] = Field(
        None,
        max_length=LONGEST_CURSOR,
        description="`next` of the page before. It contains the span: `from` and `to` are ignored.",
    )
    form: TableFormat = Field(TableFormat.JSON, alias="format", description="How the table is written.")
