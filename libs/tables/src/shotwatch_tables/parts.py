"""Parts of shot tables: row groups of Parquet files, and tables in memory."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from shotwatch_tables.parquet import ROWS_PER_GROUP
from shotwatch_tables.parquet_piece import ParquetPiece
from shotwatch_tables.pieces import device_of
from shotwatch_tables.ranges import may_have

TIME = "time"
INTERVAL = "interval"
NS_PER_MS = 1_000_000

MOST_BYTES = 64 << 20
"""Most bytes of the columns of a row group that are read at once, and of the texts of each.

Keys of objects are the longest texts: 1 KiB at most, so an hour at 10 Hz has 40 MB.
"""
_WORDS = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class PartBounds:
    """The interval and the span of all rows of a part, as its file states them."""

    interval: str
    """Of each of them."""
    first_ms: int
    last_ms: int
    """Epoch ms of the first and of the last one."""

    def require_of(self, times: pa.ChunkedArray) -> None:
        """Require that the times of all rows have this span.

        Raises:
            ValueError: they have another.
        """
        ns = times.cast(pa.int64()).to_numpy()
        if len(ns) and (ns.min() // NS_PER_MS, ns.max() // NS_PER_MS) != (self.first_ms, self.last_ms):
            raise ValueError("its times are not those that it states")


class TablePart(Protocol):
    """Some rows of a shot table, sorted by time."""

    @property
    def bounds(self) -> PartBounds | None:
        """None if nothing is stated, or the rows are of several intervals."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of all rows."""


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """A table in memory."""

    table: pa.Table
    bounds: PartBounds | None = None

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns))


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
        found = {name: self._of_device(device_of(name)).range_of(group, name) for name in columns}
        return may_have(wanted, pa.schema([self._schema.field(name) for name in columns]), found)

    def bounds(self, group: int) -> PartBounds | None:
        """Return what is stated about all rows of a group; None if it does not suffice for bounds.

        Raises:
            ValueError: the piece with the columns of whole shots cannot be used.
        """
        shots = self._of_device("")
        times, intervals = shots.range_of(group, TIME), shots.range_of(group, INTERVAL)
        if times is None or times.has_missing or intervals is None or intervals.has_missing:
            return None
        if intervals.least != intervals.largest:
            return None
        first, last = (
            pa.scalar(each, pa.timestamp("ns", "UTC")).value // NS_PER_MS
            for each in (times.least, times.largest)
        )
        return PartBounds(intervals.least, first, last)

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
class RowGroup:
    """A row group of a Parquet file, which has only the columns that are read in memory."""

    columns: TableColumns
    group: int
    bounds: PartBounds | None
    known: pa.Table
    """Columns that have been read already."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of all rows.

        Raises:
            ValueError: they take more memory than columns of shots do, cannot be read, or are not in the
                span that the file states.
        """
        others = [name for name in columns if name not in self.known.column_names]
        more = self.columns.read(self.group, others) if others else self.known
        if self.bounds and TIME in others:
            self.bounds.require_of(more[TIME])
        return pa.table({name: (more if name in others else self.known)[name] for name in columns})


def row_groups(
    columns: TableColumns,
    wanted: pc.Expression,
    inputs: Sequence[str],
    needed: Callable[[PartBounds | None], Sequence[str]],
) -> Iterator[TablePart]:
    """Yield the row groups that may have rows for which `wanted` is true, by their statistics.

    A file has as many rows in a group as `parquet.write_table` writes, and no more: each is read as a whole.

    Args:
        columns: the columns of the table.
        wanted: an expression on `inputs`.
        inputs: columns of the schema.
        needed: returns those of them that are read before a row group is yielded, by its bounds.

    Raises:
        ValueError: it is not such a file, its description, a row group or the inputs are too large, or the
            number of its rows is another.
    """
    for group, rows in enumerate(columns.rows):
        if rows > ROWS_PER_GROUP:
            raise ValueError(f"a row group has more than {ROWS_PER_GROUP:,} rows")
        if columns.may_have(wanted, group, inputs):
            bounds = columns.bounds(group)
            yield RowGroup(columns, group, bounds, columns.read(group, needed(bounds)))


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
