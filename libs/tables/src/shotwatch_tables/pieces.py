"""The pieces of a file: the columns of one device, which a search opens without those of the others.

A file of an hour has up to a thousand columns, and a reader decodes the description of all of them, which
takes longer than to search one. So the file holds a second description: for each device, that of its columns
alone. It lies before the one that every reader of Parquet finds, and other readers skip it.

    PAR1 | columns of the shot | columns of device A | … | pieces | description of all columns | length | PAR1

The columns of a device are written once more as a file of their own, to get its description; the values are
in both files the same bytes, in the same order. So the file of a piece is a part of the file, and its own
description. A test of the bytes makes sure of that: what differs is no piece, and is read as others read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import NonNegativeInt, TypeAdapter

from shotwatch_tables.parquet import MOST_DESCRIPTION_BYTES, description_bytes, write_table

MARK = b"PAR1"
"""The first bytes of a Parquet file."""
_Row = tuple[str, NonNegativeInt, NonNegativeInt, NonNegativeInt]
"""Device, start and size of its values, and the length of its description."""
_ROWS = TypeAdapter(list[_Row])
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive columns of a file that belong to one device."""

    start: int
    """Where their values begin in the file."""
    size: int
    """Bytes of the values."""
    description: bytes
    """The end of the Parquet file that consists of `MARK`, the values and this."""

    @property
    def length(self) -> int:
        """Bytes of that file."""
        return len(MARK) + self.size + len(self.description)

    @property
    def described(self) -> pq.FileMetaData:
        """The description of that file, decoded."""
        return pq.read_metadata(pa.BufferReader(MARK + self.description))


@dataclass(frozen=True, slots=True)
class TableContent:
    """The bytes of a file with its pieces."""

    content: pa.Buffer
    pieces_at: int
    """Where the description of the pieces begins."""
    pieces_size: int
    """Its length; 0 if the file has no pieces."""


def device_of(column: str) -> str:
    """Return the name of a column's device in the table; empty for columns of the whole shot."""
    return column.rpartition(".")[0]


def write_pieces(table: pa.Table) -> TableContent:
    """Return the Parquet file of a table with its pieces. Equal tables have equal files."""
    content = write_table(table)
    values_end = content.size - description_bytes(content)
    rows, descriptions, start = list[_Row](), list[bytes](), len(MARK)
    for device, columns in groupby(table.column_names, device_of):
        piece = write_table(table.select(list(columns)).replace_schema_metadata())
        size = piece.size - description_bytes(piece) - len(MARK)
        values = piece.slice(len(MARK), size)
        if content.slice(start, min(size, values_end - start)) != values:
            return TableContent(content, values_end, 0)
        descriptions.append(piece.slice(len(MARK) + size).to_pybytes())
        rows.append((device, start, size, len(descriptions[-1])))
        start += size
    described = _packed(_ROWS.dump_json(rows) + b"\n" + b"".join(descriptions))
    parts = (content.slice(0, values_end), described, content.slice(values_end))
    return TableContent(pa.py_buffer(b"".join(parts)), values_end, len(described))


def read_pieces(described: bytes) -> Mapping[str, Piece]:
    """Return device → piece; a device whose columns are not consecutive has none.

    Raises:
        ValueError: the bytes are not the description of pieces.
    """
    try:
        head, _, descriptions = _unpacked(described).partition(b"\n")
        rows = _ROWS.validate_json(head)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"not the description of pieces: {error}") from error
    found, at = dict[str, Piece](), 0
    for device, start, size, length in rows:
        found[device] = Piece(start, size, descriptions[at : at + length])
        at += length
    devices = [device for device, *_ in rows]
    return {device: piece for device, piece in found.items() if devices.count(device) == 1}


def _packed(content: bytes) -> bytes:
    compressed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return len(content).to_bytes(_LENGTH_BYTES, "little") + compressed


def _unpacked(packed: bytes) -> bytes:
    """Return what was packed; few bytes could become many, so its length is known before."""
    length = int.from_bytes(packed[:_LENGTH_BYTES], "little")
    if length > MOST_DESCRIPTION_BYTES:
        raise ValueError(f"it has {length:,} bytes")
    content: bytes = pa.decompress(packed[_LENGTH_BYTES:], length, codec="zstd", asbytes=True)
    return content
