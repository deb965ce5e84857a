"""The earliest time in a collection."""

from shotwatch_common.archive.driver import Collection

_FIRST_SPAN_MS = 60_000


async def earliest(collection: Collection, field: str, start_ms: int, end_ms: int) -> int | None:
    """Return the smallest value of an indexed field in [start, end) (epoch ms); None if there is none.

    SecantusDB reads every document of a range before it limits it. So the search begins with a minute and
    doubles its range. It reads little if something is near `start_ms`, and as much as lies in a range that
    is as long as the pause before it.
    """
    begin, length = start_ms, _FIRST_SPAN_MS
    while begin < end_ms:
        stop = min(begin + length, end_ms)
        found = collection.find({field: {"$gte": begin, "$lt": stop}}, {field: 1}).sort(field, 1).limit(1)
        async for document in found:
            return int(document[field])
        begin, length = stop, 2 * length
    return None
