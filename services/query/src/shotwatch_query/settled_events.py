"""Stored events in order of their numbers, as far as no event can still be stored before them."""

from collections.abc import AsyncIterator

from shotwatch_common.archive.events import Events, NumberedEvent
from shotwatch_common.clock import epoch_now
from shotwatch_query.domain.settled import Numbered, settled

SLICE = 200
"""Number of event numbers that are read at once."""
RECENT = 1000
"""Age of an event, in numbers, from which no event with a lower number can still be stored."""


async def settled_since(events: Events, since: int) -> AsyncIterator[NumberedEvent]:
    """Yield settled events after `since`: up to the first event before which another may still be stored."""
    end, width = await events.last_number(), SLICE
    while since < end:
        stored = await events.numbered(since, min(since + width, end))
        numbers = [Numbered(each.sequence, each.stored_at) for each in stored]
        ready = settled(numbers, since, epoch_now())
        for each in stored[:ready]:
            yield each
        if ready < len(stored) or since + width >= end:
            return
        # No event among these numbers: a gap may be long, so read twice as many next.
        since, width = (numbers[-1].sequence, SLICE) if numbers else (since, 2 * width)


async def settled_end(events: Events) -> int:
    """Return the number of the last settled event; 0 if there is none."""
    end = max(0, await events.last_number() - RECENT)
    async for stored in settled_since(events, end):
        end = stored.sequence
    return end
