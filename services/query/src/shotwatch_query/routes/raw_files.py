"""Raw files as they arrived, for a reader of HDF5 in the caller's browser: the server does not parse them."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from shotwatch_query.answers import PIECE_BYTES, joined
from shotwatch_query.errors import BadRequest, NotFound
from shotwatch_query.reservation import Room
from shotwatch_query.sources import ApiSources, From

router = APIRouter(prefix="/ledger/objects/{object_id}", tags=["ledger"])
MOST_BYTES = 128 * 2**20
"""Maximum size of a raw file: the browser has it in memory twice."""


@router.get(
    "/content",
    summary="The raw file of an object",
    response_class=Response,
    responses={
        200: {
            "description": "The file as it arrived.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def get_content(
    sources: From, room: Room, object_id: Annotated[str, Path(description="Id of an object version.")]
) -> Response:
    """Return the raw file, of at most 128 MiB, once it was read and lies in the bucket of raw files."""
    key = await _raw_key(sources, object_id)
    await room.bytes(2 * PIECE_BYTES)
    pieces = sources.store.pieces(sources.settings.data_bucket, key, PIECE_BYTES)
    first = await anext(pieces, b"")
    return StreamingResponse(joined(first, pieces), media_type="application/octet-stream")


async def _raw_key(sources: ApiSources, object_id: str) -> str:
    """Return the key of an object in the bucket of raw files.

    Raises:
        NotFound: it is not there.
        BadRequest: it is too large.
    """
    entry = await sources.archive.ledger.find(object_id)
    if entry is None:
        raise NotFound(f"the ledger has no object {object_id}")
    bucket, key = entry.location or (entry.ref.bucket, entry.ref.key)
    if bucket != sources.settings.data_bucket:
        raise NotFound(f"the object {object_id} is {entry.state}, and not among the raw files that were read")
    if entry.ref.size > MOST_BYTES:
        raise BadRequest(f"the object {object_id} has {entry.ref.size} bytes, {MOST_BYTES} at most are sent")
    return key
