"""The earliest time in a collection."""

from shotwatch_common.archive.driver import Collection


async def earliest(collection: Collection, field: str, start_ms: int, end_ms: int) -> int | None:
    """Return the smallest value of an indexed field in [start, end) (epoch ms); None if there is none."""
    within = {field: {"$gte": start_ms, "$lt": end_ms}}
    async for document in collection.find(within, {field: 1}).sort(field, 1).limit(1):
        return int(document[field])
    return None
