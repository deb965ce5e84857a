"""Stored events in the order of their numbers, none of which will be preceded by one that comes later."""

from collections.abc import AsyncIterator

from shotwatch_common.archive.events import Events
from shotwatch_common.clock import epoch_now
from shotwatch_query.domain.settled import Numbered, settled
from shotwatch_query.listing import Document

SLICE = 200
"""How many numbers are read at once."""
RECENT = 1000
"""An event that is this many numbers old has no predecessor that may still come."""


async def settled_since(events: Events, since: int) -> AsyncIterator[Document]:
    """Stored events after `since`, up to the first whose predecessors may still come."""
    end, width = await events.last_number(), SLICE
    while since < end:
        documents = await events.numbered(since, min(since + width, end))
        numbers = [Numbered(document["sequence"], document["stored_at"]) for document in documents]
        ready = settled(numbers, since, epoch_now())
        for document in documents[:ready]:
            yield document
        if ready < len(documents) or since + width >= end:
            return
        since, width = (numbers[-1].sequence, SLICE) if numbers else (since, 2 * width)


async def settled_end(events: Events) -> int:
    """Return the number of the last event that has no predecessor which may still come; 0 without any."""
    end = max(0, await events.last_number() - RECENT)
    async for document in settled_since(events, end):
        end = document["sequence"]
    return end
