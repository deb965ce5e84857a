"""Searches of a shot table by value, one part of the table in memory at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shotwatch_shots.expressions.tree import (
    WINDOWED,
    Application,
    Derivation,
    Expression,
    column_names,
    conjuncts,
    nodes,
    pulses_before,
)
from shotwatch_tables.evaluation import evaluate, is_pushed, pushed
from shotwatch_tables.parts import INTERVAL, NS_PER_MS, TIME, PartBounds, TablePart
from shotwatch_tables.ranges import ColumnRange, may_have
from shotwatch_tables.windows import Pulses

_NO_PULSES = Pulses(np.empty(0, np.int64), 1)
"""For expressions without windows."""


@dataclass(frozen=True, slots=True)
class TableSearch:
    """The shots of one series that are requested, and the columns that are derived for them."""

    start_ms: int
    end_ms: int
    """Epoch ms after the requested span."""
    interval: str
    period_ms: int
    where: Expression | None = None
    derived: tuple[Derivation, ...] = ()
    """In this order: each may read those before it."""

    @property
    def reach_ms(self) -> int:
        """How long before a shot the values lie that decide about it."""
        pulses = [pulses_before(each) for each in self._expressions]
        return sum(pulses) * self.period_ms

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of the table that must be read to find the shots."""
        return (TIME, INTERVAL, *sorted(self._read - {TIME, INTERVAL}))

    def may_match(self, ranges: Mapping[str, ColumnRange], schema: pa.Schema) -> bool:
        """Return whether a file may have rows for which `pruning` is true.

        Args:
            ranges: those of its columns that are known.
            schema: the columns of the table.

        Raises:
            ValueError: a range is not one of the values of its column.
        """
        return may_have(self.pruning, pa.schema([schema.field(name) for name in self.inputs]), ranges)

    def needed(self, bounds: PartBounds | None) -> tuple[str, ...]:
        """Return those of the inputs that decide about the shots of a part with these bounds."""
        return tuple(sorted(self._read)) if self.decides_without_times(bounds) else self.inputs

    def decides_without_times(self, bounds: PartBounds | None) -> bool:
        """Return whether other columns alone decide about each shot of a part with these bounds.

        If all its shots match, their times are returned, so they are read with the other columns.
        """
        if bounds is None or self.where is None or not self._read or self._read & {TIME, INTERVAL}:
            return False
        within = self.start_ms <= bounds.first_ms and bounds.last_ms < self.end_ms
        return within and bounds.interval == self.interval and not self._has_windows

    @property
    def pruning(self) -> pc.Expression:
        """What is true for all rows that must be read: those found and, for windows, those before them."""
        time = pc.field(TIME)
        within = (time >= _moment(self.start_ms - self.reach_ms)) & (time < _moment(self.end_ms))
        if self.reach_ms or self.where is None:
            return within
        derived = {each.name for each in self.derived}
        parts = [each for each in conjuncts(self.where) if is_pushed(each)]
        usable = [pushed(each) for each in parts if not column_names(each) & derived]
        return reduce(lambda a, b: a & b, usable, within)

    @property
    def _read(self) -> set[str]:
        """The columns of the table that the expressions read."""
        return set().union(*map(column_names, self._expressions)) - {each.name for each in self.derived}

    @property
    def _has_windows(self) -> bool:
        every = [node for each in self._expressions for node in nodes(each)]
        return any(isinstance(node, Application) and node.function in WINDOWED for node in every)

    @property
    def _expressions(self) -> list[Expression]:
        where = [] if self.where is None else [self.where]
        return [*where, *(each.expression for each in self.derived)]


@dataclass(frozen=True, slots=True)
class FoundRows:
    """The rows of a part that match a search."""

    rows: pa.Table
    searched_until_ms: int
    """Epoch ms after the last row of the part, whether it matched or not."""


@dataclass(frozen=True, slots=True)
class TablePage:
    """The first rows that match a search."""

    rows: pa.Table
    next_ms: int | None
    """Where the search goes on, epoch ms; None at its end."""


def first_rows(
    search: TableSearch,
    parts: Iterable[TablePart],
    schema: pa.Schema,
    limit: int,
    is_over: Callable[[], bool],
) -> TablePage:
    """Return up to `limit` rows in order of time.

    Args:
        search: the requested shots.
        parts: parts of the table in order of time, which have all rows for which `search.pruning` is true.
        schema: the columns to return, of the table and derived ones; `time` is one of them.
        limit: maximum number of rows.
        is_over: returns whether to end with what has been found; asked after each part.
    """
    found = [schema.empty_table()]
    count = 0
    for each in matching(search, parts, schema.names):
        if len(each.rows):
            found.append(each.rows.cast(schema))
            count += len(each.rows)
        if count > limit:
            rows = pa.concat_tables(found).slice(0, limit)
            return TablePage(rows, int(epoch_ms(rows)[-1]) + 1)
        if is_over() and search.start_ms < each.searched_until_ms < search.end_ms:
            return TablePage(pa.concat_tables(found), each.searched_until_ms)
    return TablePage(pa.concat_tables(found), None)


def matching(search: TableSearch, parts: Iterable[TablePart], columns: Sequence[str]) -> Iterator[FoundRows]:
    """Yield the rows that match, part by part, with these columns of the table and derived ones.

    What decides about a row is read first. The other columns are read only of parts with rows that match.
    """
    earlier: pa.Table | None = None
    for part in parts:
        if part.bounds and search.decides_without_times(part.bounds):
            yield FoundRows(_rows_of_whole(search, part, columns), part.bounds.last_ms + 1)
            continue
        table = part.read(search.inputs)
        own = np.flatnonzero(_is_of(table, search.interval))
        if not len(own):
            continue
        if len(own) < len(table):
            table = table.take(pa.array(own))
        before = 0 if earlier is None else len(earlier)
        if earlier is not None:
            table = pa.concat_tables([earlier, table])
        times = epoch_ms(table)
        earlier = table.filter(pa.array(times > times[-1] - search.reach_ms)) if search.reach_ms else None
        table, chosen = _chosen(search, table, times)
        chosen = chosen[chosen >= before]
        rows = _rows(part, table, chosen, own[chosen - before], columns)
        yield FoundRows(rows, int(times[-1]) + 1)


def epoch_ms(table: pa.Table) -> NDArray[np.int64]:
    """Return the times of the rows, (n,)."""
    times: NDArray[np.int64] = table[TIME].cast(pa.int64()).to_numpy()
    return times // NS_PER_MS


def _moment(time_ms: int) -> pa.Scalar:
    """Return a time; the first or the last one that Arrow has if it lies outside of these."""
    most = (2**63 - 1) // NS_PER_MS
    return pa.scalar(min(max(time_ms, -most), most) * NS_PER_MS, pa.timestamp("ns", "UTC"))


def _is_of(table: pa.Table, interval: str) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.equal(table[INTERVAL], interval), False))


def _rows_of_whole(search: TableSearch, part: TablePart, columns: Sequence[str]) -> pa.Table:
    """Return the rows of a part that match, as `_rows` does; its times do not decide about them."""
    table = _with_derived(search, part.read(search.needed(part.bounds)), _NO_PULSES)
    chosen = np.flatnonzero(_matches(search, table, _NO_PULSES))
    return _rows(part, table, chosen, chosen, columns)


def _chosen(
    search: TableSearch, table: pa.Table, times: NDArray[np.int64]
) -> tuple[pa.Table, NDArray[np.intp]]:
    """Return the table with the derived columns, and which of its rows match."""
    pulses = Pulses(times, search.period_ms)
    table = _with_derived(search, table, pulses)
    within = (times >= search.start_ms) & (times < search.end_ms)
    return table, np.flatnonzero(within & _matches(search, table, pulses))


def _with_derived(search: TableSearch, table: pa.Table, pulses: Pulses) -> pa.Table:
    for each in search.derived:
        table = table.append_column(each.name, evaluate(each.expression, table, pulses))
    return table


def _matches(search: TableSearch, table: pa.Table, pulses: Pulses) -> NDArray[np.bool_]:
    """Return for which rows of a table, which has the derived columns, the expression is true, (n,)."""
    if search.where is None:
        return np.ones(len(table), np.bool_)
    return np.asarray(pc.fill_null(evaluate(search.where, table, pulses), False))


def _rows(
    part: TablePart,
    table: pa.Table,
    chosen: NDArray[np.intp],
    own: NDArray[np.intp],
    columns: Sequence[str],
) -> pa.Table:
    """Return columns of the chosen rows of a table, and of the same rows of its part (`own`).

    If there are none, the columns that would have to be read are left out.
    """
    known = table.select([name for name in columns if name in table.column_names]).take(pa.array(chosen))
    others = [name for name in columns if name not in table.column_names]
    if not others or not len(chosen):
        return known
    more = part.read(others).take(pa.array(own))
    return pa.table({name: (more if name in others else known)[name] for name in columns})
