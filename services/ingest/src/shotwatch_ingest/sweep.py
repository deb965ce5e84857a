"""The sweep: the bucket is the truth, notifications are hints.

Lists the inbox and feeds in what nobody has seen, and again what still lies there long after, unless its
message was parked: that is for a person to send back. Several replicas may sweep: an object is new to one of
them only.
"""

from time import time

from shotwatch_common import metrics
from shotwatch_common.bus import Bus
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.process import Edges
from shotwatch_ingest.settings import IngestSettings

_AT_ONCE = 500
_CLAIM_MS = 10_000
"""So long an object is left to the replica that entered it, which may have died before it fed it in."""


class Sweep:
    """Looks into the inbox."""

    def __init__(self, edges: Edges[IngestSettings]) -> None:
        self._bus: Bus = edges.bus
        self._store = edges.store
        self._ledger = edges.archive.ledger
        self._settings = edges.settings

    async def look(self) -> None:
        """List the inbox once; publish an object event for each object that nobody works on."""
        with metrics.sweep():
            await self._look()

    async def _look(self) -> None:
        bucket = self._settings.inbox_bucket
        found: list[ArrivedObject] = []
        async for stored in self._store.list(bucket):
            if not stored.etag:  # still being written; the next look sees it whole
                continue
            found.append(ArrivedObject(bucket, stored.key, stored.etag, stored.size, stored.modified_ms))
            if len(found) == _AT_ONCE:
                await self._feed(found)
                found = []
        await self._feed(found)

    async def _feed(self, found: list[ArrivedObject]) -> None:
        long_ago = round((time() - self._settings.sweep_again_seconds) * 1000)
        ids = [arrived.object_id for arrived in found]
        left = await self._ledger.seen_since(ids, long_ago) | await self._ledger.dead_lettered(ids)
        idle = [arrived for arrived in found if arrived.object_id not in left]
        if not idle:
            return
        known = await self._ledger.known([arrived.object_id for arrived in idle])
        fed = []
        for arrived in idle:
            is_new = await self._ledger.enter(arrived.ref, "sweep", seen_at=long_ago + _CLAIM_MS)
            if is_new or arrived.object_id in known:  # else another replica entered it meanwhile
                await self._bus.send("ingest", build_notification(arrived))
                fed.append(arrived.object_id)
        await self._ledger.see(fed)
        metrics.SWEEP_FOUND.inc(len(fed))
