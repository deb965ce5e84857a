"""Expressions in requests: they are parsed with the columns of a place, and errors become problems."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from shotwatch_query.errors import BadExpression, BadRequest
from shotwatch_shots.expressions.aggregates import Aggregate, parse_aggregate
from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.parser import parse_derivation, parse_filter
from shotwatch_shots.expressions.suggestions import suggestion
from shotwatch_shots.expressions.tree import (
    Application,
    Derivation,
    Expression,
    ValueKind,
    column_names,
    nodes,
    window_pulses,
)
from shotwatch_tables.schema import ShotTableSchema, TableColumn

PLACE = TableColumn("place", pa.string(), "Place of the shot.")
"""The first column of a search of several places."""
ALWAYS = ("shot", "time")
"""The columns that all rows have."""
BY_DEFAULT = ("score", "kinds")
"""The columns that rows have, besides those in expressions, if none is asked for."""


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """The parsed expressions of a request, and its columns."""

    schema: ShotTableSchema
    where: Expression | None
    derived: tuple[Derivation, ...]
    columns: tuple[str, ...]
    """The columns of rows, in the order in which they are returned."""
    aggregates: tuple[Aggregate, ...]
    texts: Mapping[str, str]
    """The expression of each derived column, as it was given."""
    of_several: bool
    """Whether it is asked of several places, whose rows then have a column for the place."""

    @classmethod
    def parse(
        cls,
        schema: ShotTableSchema,
        where: str | None,
        derive: Sequence[str],
        columns: Sequence[str],
        aggregate: Sequence[str],
        of_several: bool,
    ) -> Self:
        """Parse the parameters of a request.

        Raises:
            BadExpression: an expression is wrong.
            BadRequest: a column does not exist, or the parameters exclude each other.
        """
        kinds = {column.name: kind_of(column.type) for column in schema.columns}
        of_place = f", of {schema.place}" if of_several else ""
        derived = []
        for text in derive:
            with _named(f"derive{of_place}"):
                derived.append(parse_derivation(text, kinds))
            kinds[derived[-1].name] = derived[-1].expression.kind
        with _named(f"where{of_place}"):
            filtered = None if where is None else parse_filter(where, kinds)
        with _named(f"aggregate{of_place}"):
            aggregates = tuple(parse_aggregate(text, kinds) for text in aggregate)
        _require_known(columns, kinds)
        if aggregates and columns:
            raise BadRequest("columns: rows have them, and aggregates do not; leave one of them out")
        _require_different(aggregates)
        texts = {each.name: text for each, text in zip(derived, derive, strict=True)}
        asked = _columns(schema, columns, filtered, derived)
        return cls(schema, filtered, tuple(derived), asked, aggregates, texts, of_several)

    @property
    def arrow(self) -> pa.Schema:
        """The columns of rows as they are returned: words as plain text, numbers as they are stored."""
        types = {each.name: _returned(each.expression) for each in self.derived}
        known = self.schema.by_name
        return pa.schema(
            [(name, types[name] if name in types else _plain(known[name].type)) for name in self.columns]
        )

    @property
    def window_values(self) -> int:
        """Number of earlier values that windows read for each shot."""
        return sum(
            window_pulses(node)
            for expression in self._expressions
            for node in nodes(expression)
            if isinstance(node, Application)
        )

    @property
    def _expressions(self) -> Iterator[Expression]:
        yield from (each.expression for each in self.derived)
        yield from (each.value for each in self.aggregates if each.value is not None)
        if self.where is not None:
            yield self.where


def kind_of(type_: pa.DataType) -> ValueKind:
    """Return the kind of value of a column."""
    matches: Mapping[ValueKind, Callable[[pa.DataType], bool]] = {
        ValueKind.TRUTH: pa.types.is_boolean,
        ValueKind.TIME: pa.types.is_timestamp,
        ValueKind.TEXTS: pa.types.is_list,
        ValueKind.TEXT: lambda each: pa.types.is_string(each) or pa.types.is_dictionary(each),
    }
    return next((kind for kind, is_of in matches.items() if is_of(type_)), ValueKind.NUMBER)


def _columns(
    schema: ShotTableSchema,
    columns: Sequence[str],
    where: Expression | None,
    derived: Sequence[Derivation],
) -> tuple[str, ...]:
    """Return the columns of rows, each once."""
    names = [each.name for each in derived]
    if columns:
        return tuple(dict.fromkeys((*ALWAYS, *columns, *names)))
    read = set().union(*(column_names(each.expression) for each in derived))
    read |= set() if where is None else column_names(where)
    used = [column.name for column in schema.columns if column.name in read]
    return tuple(dict.fromkeys((*ALWAYS, *BY_DEFAULT, *used, *names)))


def _require_known(columns: Sequence[str], kinds: Mapping[str, ValueKind]) -> None:
    for name in columns:
        if name not in kinds:
            raise BadRequest(f"columns: there is no column {name}{suggestion(name, kinds)}")


def _require_different(aggregates: Sequence[Aggregate]) -> None:
    names = [each.name for each in aggregates]
    if len(set(names)) < len(names):
        raise BadRequest("aggregate: the same one is given twice")


@contextmanager
def _named(parameter: str) -> Iterator[None]:
    try:
        yield
    except ExpressionError as error:
        raise BadExpression(parameter, error) from error


def _returned(expression: Expression) -> pa.DataType:
    return pa.bool_() if expression.kind is ValueKind.TRUTH else pa.float64()


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_
