"""Parts of shot tables: row groups of Parquet files, and tables in memory."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from shotwatch_common.tables.parquet import ROWS_PER_GROUP

MOST_BYTES = 64 << 20
"""Most bytes of the columns of a row group that are read at once, and of the texts of each.

Keys of objects are the longest texts: 1 KiB at most, so an hour at 10 Hz has 40 MB.
"""
MOST_IN_LIST = 256
"""Most elements in the list of a row, on average."""
MOST_DESCRIPTION_BYTES = 8 << 20
"""Most bytes of the description of a file's columns: 1,000 columns take some 0.3 MB."""
_ELEMENT = ".list.element"
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


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """A row group of a Parquet file, which has only the columns that are read in memory."""

    fragment: ds.ParquetFileFragment
    schema: pa.Schema

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of all rows.

        Raises:
            ValueError: they take more memory than columns of shots do, or cannot be read.
        """
        # A scan prepares each column of its schema, and a place has up to a thousand.
        schema = pa.schema([self.schema.field(name) for name in columns])
        self._require_small(set(columns))
        table = self.fragment.to_table(schema=_with_dictionaries(schema))
        for name, column in zip(columns, table.columns, strict=True):
            if (size := _text_bytes(column)) > MOST_BYTES:
                raise ValueError(f"the texts of {name} take {size:,} bytes")
        return table.cast(schema)

    def _require_small(self, columns: Set[str]) -> None:
        """Require that the columns, as the file describes them, have at most MOST_BYTES and MOST_IN_LIST."""
        for group in self.fragment.row_groups:
            described = (
                self.fragment.metadata.row_group(group.id).column(n)
                for n in range(self.fragment.metadata.num_columns)
            )
            read = [each for each in described if each.path_in_schema.partition(_ELEMENT)[0] in columns]
            sizes = (max(each.total_compressed_size, each.total_uncompressed_size) for each in read)
            if sum(sizes) > MOST_BYTES:
                raise ValueError(f"its columns take more than {MOST_BYTES:,} bytes")
            if any(each.num_values > group.num_rows * MOST_IN_LIST for each in read):
                raise ValueError(f"its lists have more than {MOST_IN_LIST} elements in each row")


def row_groups(
    file: pa.NativeFile, schema: pa.Schema, wanted: pc.Expression, rows: int
) -> Iterator[TablePart]:
    """Yield the row groups that may have rows for which `wanted` is true, by their statistics.

    A file has as many rows in a group as `parquet.write_table` writes, and no more: each is read as a whole.

    Args:
        file: a Parquet file.
        schema: columns that may be read; one that the file does not have is null.
        wanted: an expression on columns of the schema.
        rows: number of rows that the file has by its manifest.

    Raises:
        ValueError: it is not such a file, its description or a row group is too large, or the number of its
            rows is another.
    """
    _require_small_description(file)
    fragment = _format(schema).make_fragment(file)
    if fragment.metadata.num_rows != rows:
        raise ValueError(f"it has {fragment.metadata.num_rows:,} rows, not {rows:,}")
    for group in fragment.split_by_row_group(wanted, schema=schema):
        if any(each.num_rows > ROWS_PER_GROUP for each in group.row_groups):
            raise ValueError(f"a row group has more than {ROWS_PER_GROUP:,} rows")
        yield _RowGroup(group, schema)


def _require_small_description(file: pa.NativeFile) -> None:
    """Require that what a Parquet file has at its end, a description of its columns, is small.

    The four bytes before the last four are its length (https://parquet.apache.org/docs/file-format).
    """
    file.seek(max(file.size() - 8, 0))
    length = int.from_bytes(file.read(4), "little")
    if length > MOST_DESCRIPTION_BYTES:
        raise ValueError(f"its description has {length:,} bytes")
    file.seek(0)


def _format(schema: pa.Schema) -> ds.ParquetFileFormat:
    """Return how files are read: a text that repeats is in memory once, whatever the file declares."""
    texts = [each.name for each in schema if _is_text(each.type)]
    lists = [f"{each.name}{_ELEMENT}" for each in schema if pa.types.is_list(each.type)]
    options = ds.ParquetReadOptions(dictionary_columns=[*texts, *lists])
    return ds.ParquetFileFormat(pre_buffer=True, read_options=options)


def _with_dictionaries(schema: pa.Schema) -> pa.Schema:
    return pa.schema([each.with_type(_with_dictionary(each.type)) for each in schema])


def _with_dictionary(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(_WORDS))
    return _WORDS if _is_text(type_) else type_


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_dictionary(type_))


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Return how many bytes the texts of a column take in all, each as often as it occurs."""
    return sum(map(_text_bytes_of_chunk, column.chunks))


def _text_bytes_of_chunk(chunk: pa.Array) -> int:
    words = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
    if not pa.types.is_dictionary(words.type):
        return 0
    lengths = pc.binary_length(words.dictionary).cast(pa.int64())
    return pc.sum(lengths.take(words.indices)).as_py() or 0
