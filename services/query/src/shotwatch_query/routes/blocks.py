"""Blocks as they are in the store."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from shotwatch_query.answers import PIECE_BYTES, joined
from shotwatch_query.errors import NotFound
from shotwatch_query.reservation import Room
from shotwatch_query.sources import From

router = APIRouter(tags=["records"])
ARROW_FILE = "application/vnd.apache.arrow.file"
ARROW_MAGIC = b"ARROW1"


@router.get(
    "/blocks/{key:path}",
    summary="A block: all records of one device in one file",
    response_class=Response,
    responses={200: {"content": {ARROW_FILE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def get_block(
    sources: From,
    room: Room,
    key: Annotated[str, Path(description="Key of the block, as members and events give it.")],
) -> Response:
    """Return the Arrow IPC file, which pandas, polars and DuckDB can read directly.

    Columns: `time`, `state`, `readable`, and `image`, `spectrum` or `energy1` and `energy2`.
    """
    if not _possible(key):
        raise NotFound(f"there is no block {key}")
    await room.bytes(2 * PIECE_BYTES)
    pieces = sources.store.pieces(sources.settings.block_bucket, key, PIECE_BYTES)
    first = await anext(pieces, b"")
    if not first.startswith(ARROW_MAGIC):
        await pieces.aclose()
        raise NotFound(f"there is no block {key}")
    return StreamingResponse(joined(first, pieces), media_type=ARROW_FILE)


def _possible(key: str) -> bool:
    """Return whether a key is possible for a block: plain text, no segment empty, blank, `.` or `..`."""
    return key.isascii() and key.isprintable() and all(part.strip(". ") for part in key.split("/"))
