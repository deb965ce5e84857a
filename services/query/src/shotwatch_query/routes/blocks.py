"""Blocks as they lie in the store."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from shotwatch_query.errors import NotFound
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
    sources: From, key: Annotated[str, Path(description="Key of the block, as members and events tell it.")]
) -> Response:
    """The Arrow IPC file; pandas, polars and DuckDB read it as it is.

    Columns: `time`, `state`, `readable`, and `image`, `spectrum` or `energy1` and `energy2`.
    """
    data = await sources.store.get(sources.settings.block_bucket, key) if _possible(key) else b""
    if not data.startswith(ARROW_MAGIC):
        raise NotFound(f"there is no block {key}")
    return Response(data, media_type=ARROW_FILE)


def _possible(key: str) -> bool:
    """Whether a block may have such a key: plain text, no empty, `.` or `..` segment."""
    return key.isascii() and key.isprintable() and all(part.strip(".") for part in key.split("/"))
