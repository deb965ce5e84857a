"""The sweep: the bucket is the truth, notifications are hints.

It lists the inbox and feeds in objects that are not in the ledger yet. An object that is still in the inbox
long afterwards is fed in again, unless it was dead-lettered: that is for a person to reinject. If the store
sends notifications, a young object is left to its notification. Several replicas may sweep: an object is new
to only one of them. No more objects are fed in than the queues should hold; the rest stays in the inbox for a
later sweep. Small objects come first, and a sweep feeds in few large ones, so that the next one begins soon.
A sweep asks the ledger only about objects that it does not know to be processed (`_RELIED_ON_MS`).
"""

from collections.abc import Mapping, Sequence

from shotwatch_common import metrics
from shotwatch_common.background import Items
from shotwatch_common.clock import epoch_now
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.process import ServiceContext
from shotwatch_ingest.reading import is_small
from shotwatch_ingest.settings import IngestSettings
from shotwatch_shots.ledger import LastSeen
from shotwatch_shots.vocabulary import ObjectState

_AT_ONCE = 500
_LARGE_AT_ONCE = 20
"""How many large objects a sweep feeds in: some 0.1 s of work; every half second, 2400 a minute."""
_CLAIM_MS = 10_000
"""Time for which an object is left to the replica that entered it, in ms.

That replica may have died before it fed the object in.
"""
_RELIED_ON_MS = 5_000
"""Time for which a sweep relies on the ledger's answer that an object is being processed, in ms.

The embedded database takes 30 ms to answer about 200 objects, as many as a facility minute brings. For at
most this time, the sweep overlooks that somebody reset an object in the inbox.
"""


class Sweep:
    """The periodic listing of the inbox."""

    def __init__(self, context: ServiceContext[IngestSettings]) -> None:
        self._bus = context.bus
        self._store = context.store
        self._ledger = context.archive.ledger
        self._settings = context.settings
        self._objects = Items(context.servers_answer, context.log)
        self._processed: dict[ArrivedObject, int] = {}
        """Objects in the inbox that are being processed → until when the sweep relies on it, epoch ms."""

    async def poll(self) -> None:
        """List the inbox once; publish an object event for each object that is not being processed."""
        with metrics.sweep():
            await self._poll()

    async def _poll(self) -> None:
        bucket = self._settings.inbox_bucket
        found: list[ArrivedObject] = []
        processed: dict[ArrivedObject, int] = {}
        async for stored in self._store.list(bucket):
            found.append(ArrivedObject(bucket, stored.key, stored.etag, stored.size, stored.modified_ms))
            if len(found) == _AT_ONCE:
                processed |= await self._feed(found)
                found = []
        self._processed = processed | await self._feed(found)

    async def _feed(self, found: Sequence[ArrivedObject]) -> dict[ArrivedObject, int]:
        """Feed in those of the objects that nobody processes; return the others, as in `_processed`."""
        now = epoch_now()
        long_ago = now - round(self._settings.inbox_again_seconds * 1000)
        notified_ms = self._settings.inbox_notification_seconds * 1000
        processed = {each: until for each in found if (until := self._processed.get(each, 0)) > now}
        others = [each for each in found if each not in processed]
        due = [arrived for arrived in others if not 0 <= now - arrived.arrived_at_ms < notified_ms]
        seen = await self._ledger.seen([arrived.object_id for arrived in due]) if due else {}
        left = {arrived for arrived in due if _is_left(arrived, seen.get(arrived.object_id), long_ago)}
        await self._publish([arrived for arrived in due if arrived in left], seen, long_ago + _CLAIM_MS)
        for arrived in due:
            if arrived not in left and seen[arrived.object_id].state is not ObjectState.DEAD_LETTERED:
                processed[arrived] = now + _RELIED_ON_MS
        return processed

    async def _publish(
        self, left: list[ArrivedObject], seen: Mapping[str, LastSeen], claimed_at: int
    ) -> None:
        """Claim and publish those of the objects for which the queues have room."""
        chosen = {arrived.object_id: arrived for arrived in await self._fitting(left)}
        fed: list[str] = []

        async def feed(object_id: str) -> None:
            if await self._claim(chosen[object_id], seen.get(object_id), claimed_at):
                arrived = chosen[object_id]
                await self._bus.send("ingest", build_notification(arrived), express=is_small(arrived))
                fed.append(object_id)

        await self._objects.each(chosen, feed)
        if fed:
            await self._ledger.see(fed)
        metrics.SWEEP_FOUND.inc(len(fed))

    async def _fitting(self, left: list[ArrivedObject]) -> list[ArrivedObject]:
        """Return those of the objects for which the queues have room, small ones first."""
        if not left:
            return []
        small = [arrived for arrived in left if is_small(arrived)]
        large = [arrived for arrived in left if not is_small(arrived)]
        room_for_small = max(await self._bus.room("ingest", express=True), 0)
        room_for_large = min(max(await self._bus.room("ingest"), 0), _LARGE_AT_ONCE)
        return [*small[:room_for_small], *large[:room_for_large]]

    async def _claim(self, arrived: ArrivedObject, before: LastSeen | None, seen_at: int) -> bool:
        """Claim the object for this replica; return False if another one has claimed it meanwhile."""
        if before is None:
            return await self._ledger.enter_unseen(arrived.ref, "sweep", seen_at)
        return await self._ledger.claim(arrived.object_id, before, seen_at)


def _is_left(arrived: ArrivedObject, before: LastSeen | None, long_ago: int) -> bool:
    """Return whether the object is neither being processed nor waiting for a person.

    A dead-lettered object waits for a person unless it was stored again since. In that case it is fed in
    once, and again after `long_ago` (epoch ms) like any other. It stays dead-lettered until ingest takes it.
    """
    if before is None:
        return True
    if before.state is ObjectState.DEAD_LETTERED:
        stored_again = arrived.arrived_at_ms > before.since
        return stored_again and (before.at < arrived.arrived_at_ms or before.at < long_ago)
    return before.at < long_ago
