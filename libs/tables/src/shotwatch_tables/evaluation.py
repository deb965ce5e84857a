"""Evaluate expressions on Arrow columns, and translate them for the push-down to row groups of Parquet files.

Both use the same kernels of Arrow: given arrays they compute, given fields they build an expression of Arrow.
A value that is missing makes every result missing that depends on it: `and`, `or` and `not` follow Kleene's
three-valued logic. A number that is not finite, such as a ratio with 0, is missing too.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from shotwatch_shots.expressions.tree import (
    WINDOWED,
    Application,
    ColumnValue,
    Constant,
    Expression,
    Function,
    ValueKind,
    nodes,
)
from shotwatch_tables.windows import Pulses, previous, rolling_mean, rolling_std

Operand: TypeAlias = pa.Array | pa.Scalar | pc.Expression
"""The values of an expression, (n,); one for all shots; or an expression of Arrow."""
Kernel = Callable[..., Operand]

_EPOCH, _LAST_NS = datetime(1970, 1, 1, tzinfo=UTC), 2**63 - 1
_NUMBER, _TIME = pa.float64(), pa.timestamp("ns", "UTC")
_NOT_PUSHED = WINDOWED | {Function.CONTAINS}


def _finite(kernel: Kernel, *operands: Operand) -> Operand:
    """Return the results of a kernel that are finite; null for others."""
    result = kernel(*operands)
    return pc.if_else(pc.is_finite(result), result, pa.scalar(None, _NUMBER))


_KERNELS: Mapping[Function, Kernel] = {
    Function.ADD: partial(_finite, pc.add),
    Function.SUBTRACT: partial(_finite, pc.subtract),
    Function.MULTIPLY: partial(_finite, pc.multiply),
    Function.DIVIDE: partial(_finite, pc.divide),
    Function.NEGATE: pc.negate,
    Function.ABS: pc.abs,
    Function.LOG10: partial(_finite, pc.log10),
    Function.SQRT: partial(_finite, pc.sqrt),
    Function.EQUAL: pc.equal,
    Function.UNEQUAL: pc.not_equal,
    Function.LESS: pc.less,
    Function.LESS_EQUAL: pc.less_equal,
    Function.GREATER: pc.greater,
    Function.GREATER_EQUAL: pc.greater_equal,
    Function.AND: pc.and_kleene,
    Function.OR: pc.or_kleene,
    Function.NOT: pc.invert,
    Function.IS_MISSING: pc.is_null,
}
_WINDOWS = {
    Function.PREVIOUS: previous,
    Function.ROLLING_MEAN: rolling_mean,
    Function.ROLLING_STD: rolling_std,
}


def is_pushed(expression: Expression) -> bool:
    """Return whether `pushed` can translate the expression: it reads each shot alone, and no lists."""
    return not any(
        isinstance(node, Application) and node.function in _NOT_PUSHED for node in nodes(expression)
    )


def pushed(expression: Expression) -> pc.Expression:
    """Return the expression as one of Arrow, for a reader that skips row groups by their statistics."""
    match expression:
        case Constant(value):
            return pc.scalar(_scalar(value))
        case ColumnValue(name, kind):
            field = pc.field(name)
            return field.cast(_NUMBER) if kind is ValueKind.NUMBER else field
        case Application(function, arguments):
            return _KERNELS[function](*map(pushed, arguments))


def evaluate(expression: Expression, table: pa.Table, pulses: Pulses) -> pa.Array:
    """Return the value of the expression for each shot of a table, (n,); null where it is missing.

    Args:
        expression: reads columns of the table, or none.
        table: shots in ascending order of time, with those before that windows reach back to.
        pulses: the times of the shots.
    """
    values = _evaluated(expression, table, pulses)
    return pa.repeat(values, table.num_rows) if isinstance(values, pa.Scalar) else values


def _evaluated(expression: Expression, table: pa.Table, pulses: Pulses) -> Operand:
    match expression:
        case Constant(value):
            return _scalar(value)
        case ColumnValue(name, kind):
            return _column(table[name].combine_chunks(), kind)
        case Application(function, (value, Constant(count))) if function in _WINDOWS:
            return _windowed(function, evaluate(value, table, pulses), pulses, count)
        case Application(Function.CONTAINS, (texts, Constant(text))):
            return _contains(evaluate(texts, table, pulses), text)
        case Application(function, arguments):
            return _KERNELS[function](*(_evaluated(each, table, pulses) for each in arguments))


def _column(column: pa.Array, kind: ValueKind) -> pa.Array:
    if kind is ValueKind.NUMBER:
        return _finite(pc.cast, column, _NUMBER)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _scalar(value: float | str | bool | datetime) -> pa.Scalar:
    return _time(value) if isinstance(value, datetime) else pa.scalar(value)


def _time(value: datetime) -> pa.Scalar:
    """Return a time; the first or the last one that Arrow has (1677, 2262) if it lies outside of these."""
    ns = (value - _EPOCH) // timedelta(microseconds=1) * 1000
    return pa.scalar(min(max(ns, -_LAST_NS), _LAST_NS), _TIME)


def _windowed(function: Function, values: pa.Array, pulses: Pulses, count: object) -> pa.Array:
    assert isinstance(count, float)
    numbers = values.to_numpy(zero_copy_only=False)
    return pa.array(_WINDOWS[function](pulses, numbers, int(count)), from_pandas=True)


def _contains(lists: pa.Array, text: object) -> pa.Array:
    """Return whether each list has the text; null where the list is."""
    equal = pc.fill_null(pc.equal(pc.list_flatten(lists), text), False)
    having = pc.unique(pc.filter(pc.list_parent_indices(lists), equal))
    found = pc.is_in(pa.array(range(len(lists)), pa.int64()), having.cast(pa.int64()))
    return pc.if_else(pc.is_null(lists), pa.scalar(None, pa.bool_()), found)
