"""The columns of a file in the object store, which a thread reads."""

from collections.abc import Mapping
from functools import cache, partial

import pyarrow as pa

from shotwatch_common.tables.object_file import Fetch, ObjectFile
from shotwatch_tables.manifest import TableFile
from shotwatch_tables.parquet_piece import ParquetPiece
from shotwatch_tables.parts import TableColumns
from shotwatch_tables.pieces import MARK, Piece, read_pieces


def stored_columns(file: TableFile, schema: pa.Schema, fetch: Fetch) -> TableColumns:
    """Return the columns of a file, of which only the pieces are opened that are read.

    Args:
        file: the file, as its manifest describes it.
        schema: columns that may be read; one that the file does not have is null.
        fetch: returns a part of the file.

    Raises:
        ValueError: the file is not a shot table.
    """
    pieces: Mapping[str, Piece] = {}
    if file.pieces_size:
        pieces = read_pieces(fetch(file.pieces_at, file.pieces_size))
    if any(each.start < len(MARK) or each.start + each.size > file.size for each in pieces.values()):
        raise ValueError("a piece lies outside of it")

    whole = cache(lambda: ParquetPiece(_opened(ObjectFile(fetch, file.size))))

    def open_piece(device: str) -> ParquetPiece:
        piece = pieces.get(device)
        if piece is None:
            return whole()
        part = partial(_part, fetch, piece)
        return ParquetPiece(_opened(ObjectFile(part, piece.length, tail=0)), piece.described)

    return TableColumns(schema, file.rows, open_piece)


def _part(fetch: Fetch, piece: Piece, offset: int, length: int) -> bytes:
    """Return values of the file that a piece is: they lie elsewhere in the file of the hour."""
    return fetch(piece.start + offset - len(MARK), length)


def _opened(file: ObjectFile) -> pa.NativeFile:
    return pa.PythonFile(file, mode="r")
