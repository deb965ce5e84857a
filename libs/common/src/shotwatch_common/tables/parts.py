"""Parts of shot tables: row groups of Parquet files, and tables in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from shotwatch_common.tables.parquet import ROWS_PER_GROUP


class TablePart(Protocol):
    """Some rows of a shot table, sorted by time."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of all rows."""


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A table in memory."""

    table: pa.Table

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns))


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group of a Parquet file, which has only the columns that are read in memory."""

    fragment: ds.ParquetFileFragment
    schema: pa.Schema

    def read(self, columns: Sequence[str]) -> pa.Table:
        # A scan prepares each column of its schema, and a place has up to a thousand.
        schema = pa.schema([self.schema.field(name) for name in columns])
        return self.fragment.to_table(schema=schema)


def row_groups(file: pa.NativeFile, schema: pa.Schema, wanted: pc.Expression) -> Iterator[TablePart]:
    """Yield the row groups that may have rows for which `wanted` is true, by their statistics.

    A file has as many rows in a group as `parquet.write_table` writes, and no more: each is read as a whole.

    Args:
        file: a Parquet file.
        schema: columns that may be read; one that the file does not have is null.
        wanted: an expression on columns of the schema.

    Raises:
        ValueError: a row group is larger.
    """
    fragment = ds.ParquetFileFormat(pre_buffer=True).make_fragment(file)
    for group in fragment.split_by_row_group(wanted, schema=schema):
        if any(each.num_rows > ROWS_PER_GROUP for each in group.row_groups):
            raise ValueError(f"a row group has more than {ROWS_PER_GROUP:,} rows")
        yield _RowGroup(group, schema)
