"""The columns of a file in the object store, which a thread reads."""

import asyncio
from collections.abc import Mapping
from functools import cache, partial

import pyarrow as pa

from shotwatch_common.tables.object_file import Fetch, ObjectFile, fetched
from shotwatch_tables.manifest import TableFile
from shotwatch_tables.parts import ParquetPiece, TableColumns
from shotwatch_tables.pieces import MARK, Piece, read_pieces


def stored_columns(
    file: TableFile, schema: pa.Schema, fetch: Fetch, loop: asyncio.AbstractEventLoop
) -> TableColumns:
    """Return the columns of a file, of which only the pieces are opened that are read.

    Args:
        file: the file, as its manifest describes it.
        schema: columns that may be read; one that the file does not have is null.
        fetch: returns a part of the file.
        loop: the event loop in which `fetch` is called.

    Raises:
        ValueError: the file is not a shot table.
    """
    pieces: Mapping[str, Piece] = {}
    if file.pieces_size:
        pieces = read_pieces(fetched(fetch, file.pieces_at, file.pieces_size, loop))
    if any(each.start < len(MARK) or each.start + each.size > file.size for each in pieces.values()):
        raise ValueError("a piece lies outside of it")

    whole = cache(lambda: ParquetPiece(_opened(ObjectFile(fetch, file.size, loop))))

    def open_piece(device: str) -> ParquetPiece:
        piece = pieces.get(device)
        if piece is None:
            return whole()
        part = partial(_part, fetch, piece)
        return ParquetPiece(_opened(ObjectFile(part, piece.length, loop, tail=0)), piece.described)

    return TableColumns(schema, file.rows, open_piece)


async def _part(fetch: Fetch, piece: Piece, offset: int, length: int) -> bytes:
    """Return values of the file that a piece is: they lie elsewhere in the file of the hour."""
    return await fetch(piece.start + offset - len(MARK), length)


def _opened(file: ObjectFile) -> pa.NativeFile:
    return pa.PythonFile(file, mode="r")
