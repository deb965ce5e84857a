"""Aggregates of shots: `count`, `mean(x)`, `percentile(x, 95)` …, where x is an expression."""

import re
from dataclasses import dataclass
from enum import StrEnum

from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.parser import Columns, parse_number
from shotwatch_shots.expressions.tree import Expression

_WRITTEN = re.compile(r"\s*(?P<name>[a-z]+)\s*(?:\((?P<inside>.*)\)\s*)?", re.DOTALL)
_PERCENT = re.compile(r"(?P<value>.*),\s*(?P<percent>\d{1,3}(?:\.\d{1,6})?)\s*", re.DOTALL)


class Statistic(StrEnum):
    """A number that summarizes values."""

    COUNT = "count"
    """The number of shots, or of values that are not missing."""
    MEAN = "mean"
    STD = "std"
    """The standard deviation (n - 1)."""
    MIN = "min"
    MAX = "max"
    MEDIAN = "median"
    PERCENTILE = "percentile"


class AggregatePeriod(StrEnum):
    """The period of which shots are aggregated, in UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length_ms(self) -> int:
        return _LENGTHS_MS[self]


_LENGTHS_MS = {
    AggregatePeriod.MINUTE: 60_000,
    AggregatePeriod.HOUR: HOUR_MS,
    AggregatePeriod.DAY: DAY_MS,
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A statistic of an expression over shots."""

    name: str
    """The text that it was parsed from."""
    statistic: Statistic
    value: Expression | None
    """None if shots are counted."""
    percent: float = 0.0
    """0 to 100; of a percentile, also of the median."""


def parse_aggregate(text: str, columns: Columns) -> Aggregate:
    """Parse an aggregate.

    Raises:
        ExpressionError: the text is not an aggregate.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None or found["name"] not in list(Statistic):
        known = ", ".join(Statistic)
        raise ExpressionError(text, 0, len(text), f"an aggregate is count, or one of {known} with (column)")
    statistic, inside = Statistic(found["name"]), found["inside"]
    if inside is None:
        if statistic is not Statistic.COUNT:
            raise ExpressionError(text, *found.span("name"), f"{statistic} is followed by a (column)")
        return Aggregate(text.strip(), statistic, None)
    percent = 50.0 if statistic is Statistic.MEDIAN else 0.0
    if statistic is Statistic.PERCENTILE:
        inside, percent = _percentile(text, inside)
    return Aggregate(text.strip(), statistic, _value(text, found.start("inside"), inside, columns), percent)


def _percentile(text: str, inside: str) -> tuple[str, float]:
    """Return what a percentile is of, and the percentage."""
    written = _PERCENT.fullmatch(inside)
    if written is None or float(written["percent"]) > 100:
        raise ExpressionError(text, 0, len(text), "a percentile is written percentile(column, 95), 0 to 100")
    return written["value"], float(written["percent"])


def _value(text: str, start: int, inside: str, columns: Columns) -> Expression:
    """Parse an expression inside a text, and report its errors in the text."""
    try:
        return parse_number(inside, columns)
    except ExpressionError as error:
        place = start + error.start
        raise ExpressionError(text, place, place + error.length, error.reason) from error
