"""The incident store: the incidents of each place, kept in the archive and changed by compare-and-set."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from shotwatch_common.archive import Archive
from shotwatch_inference.domain.incidents import Notification, Observation, follow
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.event import AnomalyEvent

MakeEvents = Callable[[Sequence[Notification]], list[AnomalyEvent]]


class IncidentStore:
    """The incidents in the archive. Each batch is entered once, however often it is delivered."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(
        self,
        batch: ShotBatch,
        observations: Sequence[Observation],
        quiet: int,
        events_of: MakeEvents,
        withdrawn: Collection[str] = (),
    ) -> list[AnomalyEvent]:
        """Update the incidents with the batch's observations.

        Return the events to publish. They stay in the outbox until `reported` is called. `withdrawn` are the
        ids of incidents that the batch shows to be false.
        """
        place = _key(batch)
        async with self._locks[place]:
            while True:
                stored = await self._archive.incidents.load(place)
                if batch.batch_id in stored.batches:
                    return list(stored.outbox.get(batch.batch_id, []))
                before = stored.incidents.without(withdrawn)
                after, notifications = follow(before, observations, int(batch.pulses.max()), quiet)
                events = events_of(notifications)
                if after == stored.incidents and not events:
                    return []
                if await self._archive.incidents.save(stored.after(batch.batch_id, after, events)):
                    return events

    async def published(self, batch: ShotBatch) -> None:
        """Record that the batch's events have reached the broker."""
        await self._archive.incidents.remove_from_outbox(_key(batch), batch.batch_id)


def _key(batch: ShotBatch) -> str:
    return str(batch.series)
