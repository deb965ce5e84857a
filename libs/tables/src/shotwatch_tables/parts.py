"""Parts of shot tables: row groups of Parquet files, and tables in memory."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from shotwatch_tables.parquet import ROWS_PER_GROUP, require_small_description
from shotwatch_tables.pieces import device_of

_FORMAT = ds.ParquetFileFormat()

MOST_BYTES = 64 << 20
"""Most bytes of the columns of a row group that are read at once, and of the texts of each.

Keys of objects are the longest texts: 1 KiB at most, so an hour at 10 Hz has 40 MB.
"""
MOST_IN_LIST = 256
"""Most elements in the list of a row, on average."""
_WORDS = pa.dictionary(pa.int32(), pa.string())


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
        """Open a file; read its description, unless it is given.

        Raises:
            ValueError: it is not such a file, or its description is too large.
        """
        if described is None:
            require_small_description(file)
            described = pq.read_metadata(file)
        leaves = [described.schema.column(n) for n in range(described.num_columns)]
        self._flat = {leaf.path: n for n, leaf in enumerate(leaves) if leaf.path == leaf.name}
        self._leaves = defaultdict[str, list[int]](list)
        """Column → what it consists of in the file: a list of texts is a column of texts there."""
        for n, leaf in enumerate(leaves):
            for name in _columns_of(leaf):
                self._leaves[name].append(n)
        # A text that repeats is in memory once, whatever the file declares.
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        self._file = pq.ParquetFile(file, metadata=described, read_dictionary=texts, pre_buffer=True)
        self.rows: Sequence[int] = [described.row_group(n).num_rows for n in range(described.num_row_groups)]
        """Number of rows of each row group."""

    def statistics(self, group: int, column: str) -> pq.Statistics | None:
        """Return what the file states about the values of a column; None if it states nothing."""
        leaf = self._flat.get(column)
        return None if leaf is None else self._described(group, leaf).statistics

    def bytes_of(self, group: int, columns: Sequence[str]) -> int:
        """Return how many bytes these columns take, as the file describes them.

        Raises:
            ValueError: values have a type that shots do not have, or a row has more than MOST_IN_LIST.
        """
        read = [self._described(group, leaf) for name in columns for leaf in self._leaves.get(name, [])]
        if any(each.physical_type == "FIXED_LEN_BYTE_ARRAY" for each in read):
            raise ValueError("its values have a type that shots do not have")
        if any(each.num_values > self.rows[group] * MOST_IN_LIST for each in read):
            raise ValueError(f"its lists have more than {MOST_IN_LIST} elements in each row")
        return sum(max(each.total_compressed_size, each.total_uncompressed_size) for each in read)

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return those of these columns that the file has; texts are dictionaries."""
        return self._file.read_row_group(group, list(columns), use_threads=False)

    def _described(self, group: int, leaf: int) -> pq.ColumnChunkMetaData:
        return self._file.metadata.row_group(group).column(leaf)


def _columns_of(leaf: pq.ColumnSchema) -> Iterator[str]:
    """Yield the names under which a reader finds values of a file: names of columns may have points, too."""
    yield leaf.path
    if leaf.path != leaf.name:
        yield from (leaf.path[:n] for n, letter in enumerate(leaf.path) if letter == ".")


class TableColumns:
    """The columns of a table, in one file or in one piece for each device (`pieces`)."""

    def __init__(self, schema: pa.Schema, rows: int, piece: Callable[[str], ParquetPiece]) -> None:
        """Open no piece yet.

        Args:
            schema: columns that may be read; one that its piece does not have is null.
            rows: number of rows that the file has by its manifest.
            piece: returns the piece with the columns of a device; all pieces have the same row groups.
        """
        self._schema = schema
        self._rows = rows
        self._piece = piece
        self._opened: dict[str, ParquetPiece] = {}

    @property
    def rows(self) -> Sequence[int]:
        """Number of rows of each row group.

        Raises:
            ValueError: the piece with the columns of whole shots cannot be used.
        """
        return self._of_device("").rows

    def may_have(self, wanted: pc.Expression, group: int, columns: Sequence[str]) -> bool:
        """Return whether a group may have rows for which `wanted`, an expression on `columns`, is true.

        Raises:
            ValueError: a piece cannot be used.
        """
        found = {name: self._of_device(device_of(name)).statistics(group, name) for name in columns}
        return _may_have(wanted, pa.schema([self._schema.field(name) for name in columns]), found)

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of a row group with the types of the schema.

        Raises:
            ValueError: they take more memory than columns of shots do, or cannot be read.
        """
        of_device: dict[str, list[str]] = defaultdict(list)
        for name in columns:
            of_device[device_of(name)].append(name)
        pieces = [(self._of_device(device), names) for device, names in of_device.items()]
        if sum(piece.bytes_of(group, names) for piece, names in pieces) > MOST_BYTES:
            raise ValueError(f"its columns take more than {MOST_BYTES:,} bytes")
        arrays: dict[str, pa.ChunkedArray] = {}
        for piece, names in pieces:
            table = piece.read(group, names)
            arrays.update(zip(table.column_names, table.columns, strict=True))
        fields = {name: self._schema.field(name).type for name in columns}
        for name in arrays:
            arrays[name] = arrays[name].cast(_with_dictionary(fields[name]))
            if (size := _text_bytes(arrays[name])) > MOST_BYTES:
                raise ValueError(f"the texts of {name} take {size:,} bytes")
        missing = self.rows[group]
        return pa.table(
            {
                name: arrays[name].cast(type_) if name in arrays else pa.nulls(missing, type_)
                for name, type_ in fields.items()
            }
        )

    def _of_device(self, device: str) -> ParquetPiece:
        """Return the piece with the columns of a device, which has the rows of the table."""
        if device not in self._opened:
            piece = self._piece(device)
            if sum(piece.rows) != self._rows:
                raise ValueError(f"it has {sum(piece.rows):,} rows, not {self._rows:,}")
            if any(each.rows != piece.rows for each in self._opened.values()):
                raise ValueError("its pieces have different row groups")
            self._opened[device] = piece
        return self._opened[device]


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group of a Parquet file, which has only the columns that are read in memory."""

    columns: TableColumns
    group: int
    known: pa.Table
    """Columns that have been read already."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of all rows.

        Raises:
            ValueError: they take more memory than columns of shots do, or cannot be read.
        """
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
        ValueError: it is not such a file, its description, a row group or the inputs are too large, or the
            number of its rows is another.
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
    try:
        known = [_guarantee(schema.field(name), each) for name, each in ranges.items() if each is not None]
    except (TypeError, OverflowError) as error:
        raise ValueError(f"its statistics are not those of its columns: {error}") from error
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


def _with_dictionary(type_: pa.DataType) -> pa.DataType:
    """Return a type in whose columns a text that repeats is in memory once."""
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(_WORDS))
    return _WORDS if pa.types.is_string(type_) or pa.types.is_dictionary(type_) else type_


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Return how many bytes the texts of a column take in all, each as often as it occurs."""
    return sum(map(_text_bytes_of_chunk, column.chunks))


def _text_bytes_of_chunk(chunk: pa.Array) -> int:
    words = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
    if not pa.types.is_dictionary(words.type):
        return 0
    lengths = pc.binary_length(words.dictionary).cast(pa.int64())
    return pc.sum(lengths.take(words.indices)).as_py() or 0
