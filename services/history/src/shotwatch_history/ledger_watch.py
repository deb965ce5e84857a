"""Does the ledger add up? What came in and is nowhere is told loudly.

Every object is ingested, rejected, ignored, waiting or dead-lettered, every shot judged, waiting or
dead-lettered. What waits is accounted for as long as somebody will go on with it: an object that lies in the
inbox (the sweep feeds it in again), or a message that lies in a queue. What has waited longer than any
attempt takes, and of which nothing is left, is an *open end*; one that two looks in a row find is unaccounted
for.

A look writes nothing, so that any number of replicas may look.
"""

from collections.abc import AsyncIterator

from shotwatch_common import metrics
from shotwatch_common.identity import object_id
from shotwatch_common.process import Edges
from shotwatch_common.pulses import epoch_now
from shotwatch_common.vocabulary import ObjectState
from shotwatch_history.settings import HistorySettings

UNDER_WAY_MS = 600_000
"""Longer than a message stays in anybody's hands: what is older, and in no queue, is nowhere."""
SWEPT_MS = 60_000
"""So soon the sweep finds what lies in the inbox."""
_HOUR_MS = 3_600_000


class LedgerWatch:
    """Looks for open ends."""

    def __init__(
        self, edges: Edges[HistorySettings], under_way_ms: int = UNDER_WAY_MS, swept_ms: int = SWEPT_MS
    ) -> None:
        self._edges = edges
        self._archive = edges.archive
        self._under_way_ms = under_way_ms
        self._swept_ms = swept_ms
        self._before: set[str] = set()

    async def look(self) -> None:
        """Tell of what this look and the one before found open."""
        found = {each async for each in self._open_ends(epoch_now())}
        unaccounted, self._before = found & self._before, found
        for each in sorted(unaccounted):
            self._edges.log.error("unaccounted for", what=each)
        await self._measure(len(unaccounted))

    async def _measure(self, unaccounted: int) -> None:
        now = epoch_now()
        balance = await self._archive.ledger.balance(now - _HOUR_MS, now)
        for state, count in balance["states"].items():
            metrics.LEDGER_OBJECTS.labels(state).set(count)
        metrics.LEDGER_UNACCOUNTED.set(unaccounted)
        metrics.LEDGER_CHECKED.set_to_current_time()

    async def _open_ends(self, now: int) -> AsyncIterator[str]:
        overdue = now - self._under_way_ms
        async for each in self._unread(now, overdue):
            yield each
        if not await self._edges.bus.under_way("validate", "aggregate"):
            for document in await self._archive.ledger.overdue(ObjectState.INGESTED, overdue):
                yield f"object {document['_id']} ({document['key']}): ingested, and never joined"
        if not await self._edges.bus.under_way("features", "inference"):
            for batch in await self._archive.batches.overdue(overdue):
                yield f"shots of batch {batch}: closed, and never judged"
        for window in await self._archive.windows.unsent(overdue):
            yield f"window {window}: shots closed, and the message about them never sent"
        for event in await self._archive.events.overdue(overdue):
            yield f"event {event}: stored, and never published"

    async def _unread(self, now: int, overdue: int) -> AsyncIterator[str]:
        """Objects that the inbox holds and the ledger does not know, and those of which it is the reverse."""
        bucket = self._edges.settings.inbox_bucket
        stored = [each async for each in self._edges.store.list(bucket) if each.etag]
        there = {object_id(bucket, each.key, each.etag): each for each in stored}
        old = [id_ for id_, each in there.items() if each.modified_ms < now - self._swept_ms]
        for id_ in set(old) - await self._archive.ledger.known(old):
            yield f"object {id_} ({there[id_].key}): in the inbox, and unknown to the ledger"
        for document in await self._archive.ledger.overdue(ObjectState.WAITING, overdue):
            if document["_id"] not in there and not await self._edges.bus.under_way("ingest"):
                yield f"object {document['_id']} ({document['key']}): waiting, and gone from the inbox"
