"""Shot tables as Parquet files, and the replacement of shots in a table."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shotwatch_tables.schema import ShotTableSchema

ROWS_PER_GROUP = 65_536
"""Rows of a row group: more than an hour at 10 Hz, so an hour has one.

A reader decodes the description of each column in each row group: 3 µs, and there are a thousand.
"""
MOST_DESCRIPTION_BYTES = 8 << 20
"""Most bytes of the description of a file's columns: 1,000 columns take some 0.3 MB."""


def write_table(table: pa.Table) -> pa.Buffer:
    """Return the Parquet file of a table. Equal tables have equal files.

    Bytes of the same significance lie together in columns of numbers (BYTE_STREAM_SPLIT), which makes them
    an eighth smaller. Times are stored as differences, which are nearly all the same: 36,000 take 200 bytes.
    Statistics of each column let readers skip files without a match.
    """
    numbers = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    different = {*numbers, *times, *(field.name for field in table.schema if pa.types.is_string(field.type))}
    sorted_by = [name for name in table.column_names if name == "time"]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
        use_dictionary=[name for name in table.column_names if name not in different],
        use_byte_stream_split=numbers,
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        sorting_columns=[pq.SortingColumn(table.schema.get_field_index(name)) for name in sorted_by],
    )
    return sink.getvalue()


def description_bytes(content: pa.Buffer) -> int:
    """Return the length of a file's end: the description of its columns, four bytes of length, and the mark.

    The format: https://parquet.apache.org/docs/file-format/
    """
    return int.from_bytes(content[-8:-4].to_pybytes(), "little") + 8


def require_small_description(file: pa.NativeFile) -> None:
    """Require that what a Parquet file has at its end, a description of its columns, is small.

    Raises:
        ValueError: it has more than MOST_DESCRIPTION_BYTES.
    """
    file.seek(max(file.size() - 8, 0))
    length = int.from_bytes(file.read(4), "little")
    if length > MOST_DESCRIPTION_BYTES:
        raise ValueError(f"its description has {length:,} bytes")
    file.seek(0)


def read_table(data: bytes | pa.Buffer, key: str) -> pa.Table:
    """Return the table that a Parquet file holds.

    Raises:
        ValueError: the bytes are not a Parquet file; the message names the object.
    """
    try:
        return pq.read_table(pa.BufferReader(data), use_threads=False, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{key}: not a shot table: {error}") from error


def upserted(schema: ShotTableSchema, before: pa.Table | None, shots: Sequence[pa.Table]) -> pa.Table:
    """Return the shots of a table, those given in place of their earlier revisions, sorted by time and id.

    Shots that are only in `before` stay: the database may have deleted them since (ADR 38). So do the columns
    of devices that the facility file no longer lists.
    """
    fresh = pa.concat_tables(shots) if shots else schema.arrow.empty_table()
    tables = [fresh] if before is None else [fresh, before]
    merged = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    order = pc.sort_indices(merged, [("time", "ascending"), ("shot", "ascending")])
    # Tables of an hour are large, so they are copied once: `take` leaves out what is replaced.
    replaced = pc.is_in(merged["shot"], fresh["shot"].combine_chunks())
    stays = pc.or_(pc.less(order, fresh.num_rows), pc.invert(replaced.take(order)))
    return merged.take(order.filter(stays)).replace_schema_metadata(schema.arrow.metadata)
