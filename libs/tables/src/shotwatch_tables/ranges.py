"""Ranges of the values of columns: what may have no match is not read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

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

    def stated_of(self, field: pa.Field) -> pc.Expression:
        """Return what is true for all values of a column.

        Raises:
            TypeError, OverflowError: the range is not one of such values.
        """
        column = pc.field(field.name)
        if pa.types.is_nested(field.type):
            return pc.scalar(True)
        if self.least is None:
            return column.is_null()
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        within = (column >= pa.scalar(self.least, plain)) & (column <= pa.scalar(self.largest, plain))
        return within | column.is_null() if self.has_missing else within


def may_have(wanted: pc.Expression, schema: pa.Schema, ranges: Mapping[str, ColumnRange | None]) -> bool:
    """Return whether rows with columns in these ranges may be such that `wanted` is true.

    Arrow decides, as it does for the files of a directory.

    Args:
        wanted: an expression on columns of the schema.
        schema: the columns.
        ranges: column → its range, or None if it is not known.

    Raises:
        ValueError: a range is not one of the values of its column.
    """
    try:
        known = [each.stated_of(schema.field(name)) for name, each in ranges.items() if each is not None]
    except (TypeError, OverflowError) as error:
        raise ValueError(f"its statistics are not those of its columns: {error}") from error
    stated = reduce(lambda a, b: a & b, known, pc.scalar(True))
    nothing = _FORMAT.make_fragment(pa.py_buffer(b""), partition_expression=stated)
    directory = ds.FileSystemDataset([nothing], schema, _FORMAT)
    return any(True for _ in directory.get_fragments(filter=wanted))
