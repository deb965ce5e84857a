"""The incident store: the incidents of each place, kept in the archive and changed by compare-and-set."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from shotwatch_common.archive import Archive
from shotwatch_inference.domain.conditions import Sighting, Telling, follow
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.event import AnomalyEvent

TellEvents = Callable[[Sequence[Telling]], list[AnomalyEvent]]


class Book:
    """The incidents in the archive. Each batch is entered once, however often it is delivered."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(
        self,
        batch: ShotBatch,
        sightings: Sequence[Sighting],
        quiet: int,
        events_of: TellEvents,
        withdrawn: Collection[str] = (),
    ) -> list[AnomalyEvent]:
        """Update the incidents with the batch's observations.

        Return the events to publish. They stay in the outbox until `told` is called. `withdrawn` are the ids
        of incidents that the batch shows to be false.
        """
        place = _key(batch)
        async with self._locks[place]:
            while True:
                stored = await self._archive.conditions.load(place)
                if batch.batch_id in stored.batches:
                    return list(stored.outbox.get(batch.batch_id, []))
                before = stored.incidents.without(withdrawn)
                after, tellings = follow(before, sightings, int(batch.pulses.max()), quiet)
                events = events_of(tellings)
                if after == stored.incidents and not events:
                    return []
                if await self._archive.conditions.save(stored.after(batch.batch_id, after, events)):
                    return events

    async def told(self, batch: ShotBatch) -> None:
        """Record that the batch's events have reached the broker."""
        await self._archive.conditions.strike_off(_key(batch), batch.batch_id)


def _key(batch: ShotBatch) -> str:
    return str(batch.series)
