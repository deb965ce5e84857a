"""Ranges of the values of columns: what may have no match is not read."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from itertools import product
from math import inf, isnan, nan, prod
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

MAX_RANGES_CHARACTERS = 32_000
"""Longest text of the ranges of a file: 1,000 columns with values take 14,000, and a day has 24 files."""
_DIGEST_BYTES = 8
_MOST_CASES = 16
_FORMAT = ds.ParquetFileFormat()


@dataclass(frozen=True, slots=True)
class ColumnRange:
    """The least and the largest value of a column."""

    least: Any
    largest: Any
    """None if the column has no values."""
    has_missing: bool

    @classmethod
    def of(cls, statistics: pq.Statistics) -> Self | None:
        """Return what the statistics of a file state; None if they state too little."""
        if not statistics.has_null_count:
            return None
        if statistics.has_min_max:
            return cls(statistics.min, statistics.max, statistics.null_count > 0)
        return cls(None, None, True) if statistics.num_values == 0 else None

    def cases(self, field: pa.Field) -> list[pc.Expression]:
        """Return expressions of which one is true for each value of a column: within the range, or missing.

        Raises:
            TypeError, OverflowError: the range is not one of such values.
        """
        column = pc.field(field.name)
        if pa.types.is_nested(field.type):
            return [pc.scalar(True)]
        if self.least is None:
            return [column.is_null()]
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        within = (column >= pa.scalar(self.least, plain)) & (column <= pa.scalar(self.largest, plain))
        return [within, column.is_null()] if self.has_missing else [within]


def may_have(wanted: pc.Expression, schema: pa.Schema, ranges: Mapping[str, ColumnRange | None]) -> bool:
    """Return whether rows with columns in these ranges may be such that `wanted` is true.

    Arrow decides, as for the files of a directory: one for each case of what the rows have. By itself,
    it does not see that a missing value matches no comparison.

    Args:
        wanted: an expression on columns of the schema.
        schema: the columns.
        ranges: column → its range, or None if it is not known.

    Raises:
        ValueError: a range is not one of the values of its column.
    """
    try:
        known = [each.cases(schema.field(name)) for name, each in ranges.items() if each is not None]
    except (TypeError, OverflowError) as error:
        raise ValueError(f"its statistics are not those of its columns: {error}") from error
    if prod(map(len, known)) > _MOST_CASES:
        known = [[reduce(lambda a, b: a | b, cases)] for cases in known]
    stated = [reduce(lambda a, b: a & b, case, pc.scalar(True)) for case in product(*known)]
    nothing = [_FORMAT.make_fragment(pa.py_buffer(b""), partition_expression=each) for each in stated]
    directory = ds.FileSystemDataset(nothing, schema, _FORMAT)
    return any(True for _ in directory.get_fragments(filter=wanted))


def column_ranges(table: pa.Table) -> str:
    """Return the ranges of the columns of numbers of a table as text for a manifest; empty if it is too long.

    The text is base64 of the digest of the names, and, by zstd, of the least and the largest value of each
    column (float64): NaN where the range is not known, infinities if all values are missing.
    """
    ranges = np.array([_range_of(column) for column in table.columns]).T
    packed = _digest(table.column_names) + pa.compress(ranges.tobytes(), codec="zstd", asbytes=True)
    text = b64encode(packed).decode()
    return text if len(text) <= MAX_RANGES_CHARACTERS else ""


class RangeReader:
    """A reader of texts that `column_ranges` returned of tables with the same columns."""

    def __init__(self, names: Sequence[str]) -> None:
        """Take the names of the columns, in order."""
        self._names = names
        self._digest = _digest(names)

    def read(self, text: str, wanted: Iterable[str]) -> dict[str, ColumnRange]:
        """Return the ranges of those wanted columns of which a text states them.

        The text of a table with other columns states nothing.

        Raises:
            ValueError: the text is something else.
        """
        try:
            packed = b64decode(text, validate=True)
            if packed[:_DIGEST_BYTES] != self._digest:
                return {}
            size = 16 * len(self._names)
            content = pa.decompress(packed[_DIGEST_BYTES:], size, codec="zstd", asbytes=True)
        except (OSError, ValueError) as error:
            raise ValueError(f"not the ranges of columns: {error}") from error
        ranges = np.frombuffer(content).reshape(2, len(self._names))
        found = {name: _column_range(*ranges[:, self._names.index(name)].tolist()) for name in wanted}
        return {name: each for name, each in found.items() if each is not None}


def _column_range(least: float, largest: float) -> ColumnRange | None:
    if isnan(least) or isnan(largest):
        return None
    none = least > largest
    return ColumnRange(None if none else least, None if none else largest, has_missing=True)


def _range_of(column: pa.ChunkedArray) -> tuple[float, float]:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return nan, nan
    if column.null_count == len(column):
        return inf, -inf
    found = pc.min_max(column)
    return found["min"].as_py(), found["max"].as_py()


def _digest(names: Sequence[str]) -> bytes:
    return blake2b("\n".join(names).encode(), digest_size=_DIGEST_BYTES).digest()
