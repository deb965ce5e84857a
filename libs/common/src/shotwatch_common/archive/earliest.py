"""The earliest time in a collection."""

from shotwatch_common.archive.driver import Collection


async def earliest(collection: Collection, field: str, start_ms: int, end_ms: int) -> int | None:
    """Return the smallest value of an indexed field in [start, end); None if there is none."""
    found = collection.find({field: {"$gte": start_ms, "$lt": end_ms}}, {field: 1}).sort(field, 1).limit(1)
    async for document in found:
        return int(document[field])
    return None
