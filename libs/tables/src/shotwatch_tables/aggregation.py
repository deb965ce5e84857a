"""Statistics of shots by minute, hour or day, with one such period in memory at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shotwatch_shots.expressions.aggregates import Aggregate, Statistic
from shotwatch_shots.expressions.tree import Derivation
from shotwatch_tables.parts import NS_PER_MS, TIME, TablePart
from shotwatch_tables.search import TableSearch, epoch_ms, matching

Values = NDArray[np.float64]
MOST_VALUES = 6_000_000
"""Maximum number of values in memory: those of a period, and of the part that it ends in."""


class PeriodTooLong(ValueError):
    """A period has more values than fit into memory."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of consecutive periods."""

    times: NDArray[np.int64]
    """Epoch ms, (n,)."""
    values: tuple[Values, ...]
    """Of each aggregate, (n,); NaN where it is missing."""

    def then(self, other: "_Rows") -> "_Rows":
        values = map(np.concatenate, zip(self.values, other.values, strict=True))
        return _Rows(np.concatenate([self.times, other.times]), tuple(values))

    def part(self, rows: slice) -> "_Rows":
        return _Rows(self.times[rows], tuple(values[rows] for values in self.values))


def with_values(search: TableSearch, aggregates: Sequence[Aggregate]) -> TableSearch:
    """Return the search that also derives what `aggregates` are of, for `aggregated`."""
    derived = [
        Derivation(_value_name(n), each.value) for n, each in enumerate(aggregates) if each.value is not None
    ]
    return replace(search, derived=(*search.derived, *derived))


def aggregated(
    search: TableSearch, parts: Iterable[TablePart], aggregates: Sequence[Aggregate], period_ms: int
) -> pa.Table:
    """Return a row for each period with shots: its start as `time`, then the aggregates by their names.

    Args:
        search: the shots, as `with_values` returns it.
        parts: as for `first_rows`.
        aggregates: at least one.
        period_ms: length of a period; periods begin at multiples of it since the epoch.

    Raises:
        PeriodTooLong: the shots of a period do not fit into memory.
    """
    names = [_value_name(n) for n, each in enumerate(aggregates) if each.value is not None]
    found = matching(search, parts, [TIME, *names])
    read = (_values(each.rows, aggregates) for each in found)
    tables = [_table(rows, aggregates, period_ms) for rows in _whole_periods(read, period_ms)]
    return pa.concat_tables([_table(_values(None, aggregates), aggregates, period_ms), *tables])


def _value_name(aggregate: int) -> str:
    """Return the name of a column that no expression can read."""
    return f"#{aggregate}"


def _values(rows: pa.Table | None, aggregates: Sequence[Aggregate]) -> _Rows:
    if rows is None or not len(rows):
        return _Rows(np.empty(0, np.int64), tuple(np.empty(0) for _ in aggregates))
    ones = np.ones(len(rows))
    columns = (
        ones if each.value is None else rows[_value_name(n)].to_numpy().astype(np.float64)
        for n, each in enumerate(aggregates)
    )
    return _Rows(epoch_ms(rows), tuple(columns))


def _whole_periods(parts: Iterable[_Rows], period_ms: int) -> Iterator[_Rows]:
    """Yield the same rows such that no period is divided."""
    waiting: _Rows | None = None
    for part in parts:
        waiting = part if waiting is None else waiting.then(part)
        if not len(waiting.times):
            continue
        last = waiting.times[-1] // period_ms * period_ms
        complete = int(np.searchsorted(waiting.times, last))
        if complete:
            yield waiting.part(slice(complete))
            waiting = waiting.part(slice(complete, None))
        if waiting.times.size * (1 + len(waiting.values)) > MOST_VALUES:
            raise PeriodTooLong(f"a period has more than {MOST_VALUES:,} values")
    if waiting is not None and len(waiting.times):
        yield waiting


def _table(rows: _Rows, aggregates: Sequence[Aggregate], period_ms: int) -> pa.Table:
    periods = rows.times // period_ms
    starts = np.flatnonzero(np.diff(periods, prepend=periods[:1] - 1))
    begins = pa.array(periods[starts] * period_ms * NS_PER_MS, pa.timestamp("ns", "UTC"))
    columns = {
        each.name: pa.array(_statistic(each, values, starts), from_pandas=True)
        for each, values in zip(aggregates, rows.values, strict=True)
    }
    return pa.table({TIME: begins, **columns})


def _statistic(aggregate: Aggregate, values: Values, starts: NDArray[np.intp]) -> NDArray[np.generic]:
    """Return the statistic of each part of the values that begins at one of `starts`; NaN if it has none."""
    known = np.isfinite(values)
    if not len(starts):
        return np.empty(0, np.int64 if aggregate.statistic is Statistic.COUNT else np.float64)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    match aggregate.statistic:
        case Statistic.COUNT:
            return counts
        case Statistic.MEAN:
            return _means(values, counts, starts)
        case Statistic.STD:
            return _deviations(values, counts, starts)
        case Statistic.MIN:
            return _extreme(np.minimum, np.inf, values, starts)
        case Statistic.MAX:
            return _extreme(np.maximum, -np.inf, values, starts)
    return _percentiles(values, counts, starts, aggregate.percent)


def _means(values: Values, counts: NDArray[np.int64], starts: NDArray[np.intp]) -> Values:
    sums: Values = np.add.reduceat(np.nan_to_num(values), starts)
    return sums / np.where(counts, counts, np.nan)


def _deviations(values: Values, counts: NDArray[np.int64], starts: NDArray[np.intp]) -> Values:
    lengths = np.diff(starts, append=len(values))
    squares = (values - np.repeat(_means(values, counts, starts), lengths)) ** 2
    sums: Values = np.add.reduceat(np.nan_to_num(squares), starts)
    return np.sqrt(sums / np.where(counts > 1, counts - 1, np.nan))


def _extreme(function: np.ufunc, none: float, values: Values, starts: NDArray[np.intp]) -> Values:
    found: Values = function.reduceat(np.where(np.isfinite(values), values, none), starts)
    return np.where(np.isfinite(found), found, np.nan)


def _percentiles(
    values: Values, counts: NDArray[np.int64], starts: NDArray[np.intp], percent: float
) -> Values:
    """Return percentiles with linear interpolation, as `numpy.percentile` has by default."""
    part = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    ordered = values[np.lexsort((values, part))]  # NaN is last in its part
    position = starts + percent / 100 * np.maximum(counts - 1, 0)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, starts + np.maximum(counts - 1, 0))
    share = position - below
    found: Values = ordered[below] * (1 - share) + ordered[above] * share
    return found
