"""The tree of an expression: constants, columns, and functions applied to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ValueKind(StrEnum):
    """The kind of value that an expression has for each shot, unless it is missing."""

    NUMBER = "a number"
    TEXT = "a text"
    TEXTS = "a list of texts"
    TIME = "a time"
    TRUTH = "true or false"


class Function(StrEnum):
    """A function or an operator, as it is written."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    NEGATE = "negate"
    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    AND = "and"
    OR = "or"
    NOT = "not"
    IS_MISSING = "is missing"
    CONTAINS = "in"
    ABS = "abs"
    LOG10 = "log10"
    SQRT = "sqrt"
    PREVIOUS = "previous"
    ROLLING_MEAN = "rolling_mean"
    ROLLING_STD = "rolling_std"


WINDOWED = frozenset({Function.PREVIOUS, Function.ROLLING_MEAN, Function.ROLLING_STD})
"""Functions of earlier shots: their second argument is a constant number of pulses."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, a time or a truth value that the expression states."""

    value: float | str | bool | datetime
    kind: ValueKind


@dataclass(frozen=True, slots=True)
class ColumnValue:
    """The value of a column."""

    name: str
    kind: ValueKind


@dataclass(frozen=True, slots=True)
class Application:
    """A function applied to arguments."""

    function: Function
    arguments: "tuple[Expression, ...]"
    kind: ValueKind


Expression = Constant | ColumnValue | Application


@dataclass(frozen=True, slots=True)
class Derivation:
    """A column that an expression derives from others."""

    name: str
    expression: Expression


def nodes(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and all its parts."""
    yield expression
    if isinstance(expression, Application):
        for argument in expression.arguments:
            yield from nodes(argument)


def column_names(expression: Expression) -> set[str]:
    """Return the names of the columns that the expression reads."""
    return {node.name for node in nodes(expression) if isinstance(node, ColumnValue)}


def pulses_before(expression: Expression) -> int:
    """Return how many pulses before a shot the values lie that its own value depends on."""
    if not isinstance(expression, Application):
        return 0
    return window_pulses(expression) + max(map(pulses_before, expression.arguments))


def window_pulses(expression: Application) -> int:
    """Return how many pulses before a shot a function itself reads: 0 if it reads the shot alone."""
    if expression.function not in WINDOWED:
        return 0
    count = expression.arguments[1]
    assert isinstance(count, Constant)
    pulses = int(count.value)  # type: ignore[arg-type]
    return pulses if expression.function is Function.PREVIOUS else pulses - 1


def conjuncts(expression: Expression) -> Iterator[Expression]:
    """Yield the parts that must all be true for the expression to be true."""
    if isinstance(expression, Application) and expression.function is Function.AND:
        for argument in expression.arguments:
            yield from conjuncts(argument)
    else:
        yield expression
