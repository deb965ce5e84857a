"""Arrow tables as files: JSON, CSV, Parquet and an Arrow stream."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json

from shotwatch_query.domain.columns import PIECE, finite_or_none, spreadsheet_cell


def table_json(
    table: pa.Table, about: Mapping[str, object], described: Sequence[Mapping[str, str]]
) -> Iterator[bytes]:
    """Yield a JSON object in pieces: `columns`, each with its `values`, then the properties `about`.

    Args:
        table: the columns.
        about: further properties of the object.
        described: the properties of each column beside its values.
    """
    yield b'{"columns":['
    for n, (properties, column) in enumerate(zip(described, table.columns, strict=True)):
        yield (b"," if n else b"") + to_json(properties)[:-1] + b',"values":['
        for start in range(0, len(column), PIECE):
            piece = to_json(_plain(column.slice(start, PIECE)))[1:-1]
            yield b"," + piece if start else piece
        yield b"]}"
    yield b"]," + to_json(about)[1:]


def table_csv(table: pa.Table) -> Iterator[bytes]:
    """Yield CSV in pieces: times as RFC 3339, missing values empty, lists separated by blanks.

    Truth values are 1 or 0.
    """
    yield _lines([table.column_names])
    for start in range(0, len(table), PIECE):
        piece = table.slice(start, PIECE)
        yield _lines(zip(*(map(_cell, _plain(column)) for column in piece.columns), strict=True))


def table_arrow(table: pa.Table) -> Iterator[bytes]:
    """Yield an Arrow IPC stream in pieces."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=PIECE):
            writer.write_batch(batch)
            yield _taken(sink)
    yield _taken(sink)


def table_parquet(table: pa.Table) -> bytes:
    """Return a Parquet file, compressed by zstd."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _taken(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data


def _plain(column: pa.ChunkedArray) -> list[object]:
    """Return the values: times as datetime in UTC, floats with seven digits, None for missing ones."""
    if pa.types.is_floating(column.type):
        return list(finite_or_none(column.to_numpy().astype(np.float64)))
    if pa.types.is_timestamp(column.type):
        return list(column.cast(pa.timestamp("us", "UTC")).to_pylist())
    return list(column.to_pylist())


def _cell(value: object) -> object:
    match value:
        case bool():
            return int(value)
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case list():
            return spreadsheet_cell(" ".join(map(str, value)))
    return spreadsheet_cell(value)


def _lines(rows: "Iterator[Sequence[object]] | list[list[str]]") -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()
