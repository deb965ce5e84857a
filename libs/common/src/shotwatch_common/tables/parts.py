"""Parts of shot tables: row groups of Parquet files, and tables in memory."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from shotwatch_common.tables.parquet import ROWS_PER_GROUP
from shotwatch_common.tables.pieces import device_of

_FORMAT = ds.ParquetFileFormat()


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


class ParquetPiece:
    """A Parquet file that has some or all columns of a table."""

    def __init__(self, file: pa.NativeFile, described: pq.FileMetaData | None = None) -> None:
        """Open a file; read its description, unless it is given."""
        self._file = pq.ParquetFile(file, metadata=described, pre_buffer=True)
        self._leaves = {name: n for n, name in enumerate(self._file.schema.names)}

    @property
    def rows(self) -> Sequence[int]:
        """Number of rows of each row group."""
        return [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]

    def statistics(self, group: int, column: str) -> pq.Statistics | None:
        """Return what the file states about the values of a column; None if it states nothing."""
        leaf = self._leaves.get(column)
        return None if leaf is None else self._file.metadata.row_group(group).column(leaf).statistics

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return those of these columns that the file has."""
        return self._file.read_row_group(group, list(columns), use_threads=False)


class TableColumns:
    """The columns of a table, in one file or in one piece for each device (`pieces`)."""

    def __init__(self, schema: pa.Schema, piece: Callable[[str], ParquetPiece]) -> None:
        """Open no piece yet.

        Args:
            schema: columns that may be read; one that its piece does not have is null.
            piece: returns the piece with the columns of a device; all pieces have the same row groups.
        """
        self._schema = schema
        self._piece = cache(piece)

    @property
    def rows(self) -> Sequence[int]:
        """Number of rows of each row group."""
        return self._piece("").rows

    def may_have(self, wanted: pc.Expression, group: int, columns: Sequence[str]) -> bool:
        """Return whether a group may have rows for which `wanted`, an expression on `columns`, is true."""
        found = {name: self._piece(device_of(name)).statistics(group, name) for name in columns}
        return _may_have(wanted, pa.schema([self._schema.field(name) for name in columns]), found)

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of a row group with the types of the schema."""
        of_device: dict[str, list[str]] = defaultdict(list)
        for name in columns:
            of_device[device_of(name)].append(name)
        found = [self._piece(device).read(group, names) for device, names in of_device.items()]
        arrays = {name: table[name] for table in found for name in table.column_names}
        fields = {name: self._schema.field(name).type for name in columns}
        missing = self.rows[group]
        return pa.table(
            {
                name: arrays[name].cast(type_) if name in arrays else pa.nulls(missing, type_)
                for name, type_ in fields.items()
            }
        )


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group of a Parquet file, which has only the columns that are read in memory."""

    columns: TableColumns
    group: int
    known: pa.Table
    """Columns that have been read already."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        others = [name for name in columns if name not in self.known.column_names]
        more = self.columns.read(self.group, others) if others else self.known
        return pa.table({name: (more if name in others else self.known)[name] for name in columns})


def row_groups(columns: TableColumns, wanted: pc.Expression, inputs: Sequence[str]) -> Iterator[TablePart]:
    """Yield the row groups that may have rows for which `wanted` is true, by their statistics.

    A file has as many rows in a group as `parquet.write_table` writes, and no more: each is read as a whole.

    Args:
        columns: the columns of the table.
        wanted: an expression on `inputs`.
        inputs: columns of the schema that are read at once, before the row group is yielded.

    Raises:
        ValueError: a row group is larger.
    """
    for group, rows in enumerate(columns.rows):
        if rows > ROWS_PER_GROUP:
            raise ValueError(f"a row group has more than {ROWS_PER_GROUP:,} rows")
        if columns.may_have(wanted, group, inputs):
            yield _RowGroup(columns, group, columns.read(group, inputs))


def _may_have(wanted: pc.Expression, schema: pa.Schema, ranges: Mapping[str, pq.Statistics | None]) -> bool:
    """Return whether rows with these columns, whose values lie in these ranges, may match.

    Arrow decides, as for the directories of a data set: their names state what is true for all of their rows.
    """
    known = (_guarantee(schema.field(name), each) for name, each in ranges.items() if each is not None)
    guarantee = reduce(lambda a, b: a & b, known, pc.scalar(True))
    nothing = _FORMAT.make_fragment(pa.py_buffer(b""), partition_expression=guarantee)
    directory = ds.FileSystemDataset([nothing], schema, _FORMAT)
    return any(True for _ in directory.get_fragments(filter=wanted))


def _guarantee(field: pa.Field, statistics: pq.Statistics) -> pc.Expression:
    """Return what the statistics of a column state about all its values."""
    column = pc.field(field.name)
    if not statistics.has_null_count or pa.types.is_nested(field.type):
        return pc.scalar(True)
    if not statistics.has_min_max:
        return column.is_null() if statistics.num_values == 0 else pc.scalar(True)
    plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    within = (column >= pa.scalar(statistics.min, plain)) & (column <= pa.scalar(statistics.max, plain))
    return within | column.is_null() if statistics.null_count else within
