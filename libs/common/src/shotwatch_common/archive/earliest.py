"""The first document of a range that can be decoded."""

from collections.abc import Callable
from typing import TypeVar

from shotwatch_common.archive.driver import Collection, Document, DocumentCursor
from shotwatch_common.archive.readable import number, readable, readable_one

T = TypeVar("T")


async def first(
    find: Callable[[], DocumentCursor], decode: Callable[[Document], T], collection: str
) -> T | None:
    """Return what the first document of a sorted cursor holds that is not malformed; None if there is none.

    All documents are read only if the first one is malformed.
    """
    documents = [document async for document in find().limit(1)]
    if not documents:
        return None
    found = readable_one(documents[0], decode, collection)
    if found is None:
        async for each in readable(find(), decode, collection):
            return each
    return found


async def earliest(collection: Collection, name: str, field: str, start_ms: int, end_ms: int) -> int | None:
    """Return the smallest value of an indexed field in [start, end) (epoch ms); None if there is none."""
    within = {field: {"$gte": start_ms, "$lt": end_ms}}
    return await first(
        lambda: collection.find(within, {field: 1}).sort(field, 1), lambda each: number(each[field]), name
    )
