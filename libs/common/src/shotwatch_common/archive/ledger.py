"""The ledger: where each object is, and what happened to it, when and why."""

from collections import Counter
from collections.abc import Mapping, Sequence

from shotwatch_common.archive import ledger_documents as documents
from shotwatch_common.archive.driver import Database, Filter
from shotwatch_common.archive.ledger_documents import (
    encoded_facts,
    encoded_location,
    encoded_step,
    step_added,
)
from shotwatch_common.archive.readable import COUNTABLE, all_readable, readable, readable_one
from shotwatch_common.archive.secantus_gaps import among, parts, steps
from shotwatch_common.clock import epoch_now
from shotwatch_shots.ledger import (
    NOT_YET,
    Entry,
    JoinFacts,
    LastSeen,
    Location,
    ObjectEntry,
    OverdueObject,
    ReadFacts,
)
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState

_NAME = "objects"
_FIVE_MINUTES_MS = 300_000
"""Length of the times whose objects are counted at once: a thousand at the facility's full rate."""


class Ledger:
    """Collection `objects`: one document per object version; `_id` is the object id.

    Every write is an update by id, so repeating a step leaves the same state. `since` is the time at which
    the object entered its state. `joined_at` is the time at which its records were joined, NOT_YET before
    that. Both are epoch ms.
    """

    def __init__(self, database: Database) -> None:
        self._objects = database[_NAME]

    async def ensure_indexes(self) -> None:
        await self._objects.create_index([("arrived_at", 1)])
        await self._objects.create_index([("key", 1), ("arrived_at", 1)])
        await self._objects.create_index([("state", 1), ("joined_at", 1)])
        await self._objects.create_index([("state", 1), ("arrived_at", 1)])
        await self._objects.create_index([("since", 1)])
        await self._objects.create_index([("joined_at", 1)])
        await self._objects.create_index([("location.key", 1)])

    async def enter(self, ref: ObjectRef, stage: str) -> bool:
        """Record that a stage begins to work on an object; return whether the object is new.

        A new object enters the state `waiting`; a known one keeps its state. The object also counts as seen
        now, so the sweep does not feed it in.
        """
        return await self._enter(ref, stage, {"$set": {"seen_at": epoch_now()}}, {})

    async def enter_unseen(self, ref: ObjectRef, stage: str, seen_at: int) -> bool:
        """Record a new object as last seen at `seen_at` (epoch ms); do nothing for a known one.

        Return whether the object is new.
        """
        return await self._enter(ref, stage, {}, {"seen_at": seen_at})

    async def _enter(self, ref: ObjectRef, stage: str, always: Filter, when_new: Filter) -> bool:
        first = {
            **ref.model_dump(exclude={"object_id"}),
            "state": ObjectState.WAITING,
            "reason": "",
            "since": epoch_now(),
            "joined_at": NOT_YET,
            "location": encoded_location((ref.bucket, ref.key)),
            "history": [encoded_step(Entry(ObjectState.WAITING, stage))],
        }
        result = await self._objects.update_one(
            {"_id": ref.object_id}, {"$setOnInsert": {**first, **when_new}, **always}, upsert=True
        )
        return result.upserted_id is not None

    async def last_arrivals(self, key: str) -> dict[str, int]:
        """Return the ids and arrival times (epoch ms) of the two versions of a file that arrived last."""
        versions = self._objects.find({"key": key}, {"arrived_at": 1}).sort("arrived_at", -1).limit(2)
        return dict(await all_readable(versions, documents.decoded_arrival, _NAME))

    async def place_last(self, ref: ObjectRef, arrivals: Mapping[str, int]) -> ObjectRef:
        """Give the object an arrival time later than those of other versions of its file, and store it.

        Return the object with that time. Call this for the version that the store holds: it was stored last,
        whatever the times of the notifications are (the store's clock may have been set back). `arrivals` are
        the `last_arrivals` of its key.
        """
        latest_other = max((at for id_, at in arrivals.items() if id_ != ref.object_id), default=NOT_YET)
        placed = ref.model_copy(update={"arrived_at": max(ref.arrived_at, latest_other + 1)})
        if arrivals.get(ref.object_id) != placed.arrived_at:
            await self._set(ref.object_id, {"arrived_at": placed.arrived_at})
        return placed

    async def seen(self, object_ids: Sequence[str]) -> dict[str, LastSeen]:
        """Return when each of these objects was last seen in the inbox; unknown objects are left out."""
        found = among(self._objects, "_id", object_ids, {"seen_at": 1, "state": 1, "since": 1})
        return dict(await all_readable(found, documents.decoded_last_seen, _NAME))

    async def places(self, object_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return bucket and key of those of these objects that have a location."""
        found = among(self._objects, "_id", object_ids, {"location": 1})
        places = await all_readable(found, documents.decoded_place, _NAME)
        return {id_: location for id_, location in places if location is not None}

    async def claim(self, object_id: str, before: LastSeen, seen_at: int) -> bool:
        """Claim an object that was last seen at `before.at`; return False if another process was faster."""
        known = {"_id": object_id, "seen_at": before.at}
        result = await self._objects.update_one(known, {"$set": {"seen_at": seen_at}})
        return bool(result.modified_count)

    async def see(self, object_ids: Sequence[str]) -> None:
        """Record that the objects are in the inbox now and are being processed."""
        for some in parts(object_ids):
            await self._objects.update_many({"_id": {"$in": some}}, {"$set": {"seen_at": epoch_now()}})

    async def settle(self, object_id: str, entry: Entry, reason: str = "") -> bool:
        """Set the object's state to `entry.state`; its location stays.

        Return whether the state changed. A dead-lettered object stays dead-lettered until it is revived or
        starts again.
        """
        return await self._settle(object_id, entry, reason, {})

    async def settle_at(
        self,
        object_id: str,
        entry: Entry,
        location: Location | None,
        reason: str = "",
        facts: ReadFacts | None = None,
    ) -> bool:
        """Set the object's state, its location (None if it no longer exists) and facts about it.

        Return whether the state changed, as `settle` does.
        """
        known = {"location": encoded_location(location), **(encoded_facts(facts) if facts else {})}
        return await self._settle(object_id, entry, reason, known)

    async def _settle(self, object_id: str, entry: Entry, reason: str, more: Filter) -> bool:
        changes = {"state": entry.state, "since": epoch_now(), "reason": reason, "detail": entry.why}
        update = {"$set": {**changes, **more}, **step_added(entry)}
        other = {"_id": object_id, "state": {"$nin": [entry.state, ObjectState.DEAD_LETTERED]}}
        if (await self._objects.update_one(other, update)).matched_count:
            return True
        await self._objects.update_one({"_id": object_id, "state": entry.state}, update)
        return False

    async def revive(self, object_id: str, stage: str, why: str) -> None:
        """Return a dead-lettered object to its previous state, because its message is being processed again.

        An object that is not dead-lettered stays unchanged.
        """
        known = await self.find(object_id)
        if known is None or known.state is not ObjectState.DEAD_LETTERED:
            return
        states = [step.state for step in known.history if step.state is not ObjectState.DEAD_LETTERED]
        before = states[-1] if states else ObjectState.WAITING
        await self._objects.update_one(
            {"_id": object_id, "state": ObjectState.DEAD_LETTERED},
            {
                "$set": {"state": before, "since": epoch_now(), "reason": "", "detail": why},
                **step_added(Entry(before, stage, why)),
            },
        )

    async def newest(self, keys: Sequence[str]) -> list[ObjectEntry]:
        """Return the object version that arrived last for each of these keys."""
        newest: dict[str, ObjectEntry] = {}
        found = self._objects.find({"key": {"$in": list(keys)}}).sort("arrived_at", 1)
        async for entry in readable(found, documents.decoded, _NAME):
            newest[entry.ref.key] = entry
        return list(newest.values())

    async def start_again(self, object_id: str, stage: str, why: str) -> None:
        """Reset the object to `waiting`, as if it had never been seen.

        The sweep feeds it in once it is in the inbox.
        """
        known = await self.find(object_id)
        if known is None:
            return
        changes = {
            "state": ObjectState.WAITING,
            "since": epoch_now(),
            "joined_at": NOT_YET,
            "seen_at": 0,
            "location": encoded_location((known.ref.bucket, known.ref.key)),
        }
        step = step_added(Entry(ObjectState.WAITING, stage, why))
        await self._objects.update_one(
            {"_id": object_id}, {"$set": {**changes, "reason": "", "detail": why}, **step}
        )

    async def record_step(self, keys: Sequence[str], stage: str, why: str) -> None:
        """Add an entry to the history of these files: their results were computed again. The state stays."""
        for known in await self.newest(keys):
            step = step_added(Entry(known.state, stage, why))
            await self._objects.update_one({"_id": known.ref.object_id}, step)

    async def expire(self, object_ids: Sequence[str], stage: str, why: str) -> None:
        """Record that the records and shots of ingested objects are being deleted; the raw files stay."""
        changes = {"state": ObjectState.EXPIRED, "since": epoch_now(), "joined_at": NOT_YET, "detail": why}
        step = step_added(Entry(ObjectState.EXPIRED, stage, why))
        ingested = {"_id": {"$in": list(object_ids)}, "state": ObjectState.INGESTED}
        await self._objects.update_many(ingested, {"$set": changes, **step})

    async def note_discarded(self, object_id: str, stage: str, why: str) -> None:
        """Record why a dead-lettered message about the object was discarded. The state stays."""
        step = step_added(Entry(ObjectState.DEAD_LETTERED, stage, why))
        await self._objects.update_one({"_id": object_id}, {"$set": {"detail": why}, **step})

    async def note_joined(self, object_id: str, facts: JoinFacts) -> None:
        """Record that the object's records were joined into shots, with facts about its records."""
        await self._set(object_id, {**encoded_facts(facts), "joined_at": epoch_now()})

    async def _set(self, object_id: str, fields: Filter) -> None:
        await self._objects.update_one({"_id": object_id}, {"$set": fields})

    async def find(self, object_id: str) -> ObjectEntry | None:
        document = await self._objects.find_one({"_id": object_id})
        return readable_one(document, documents.decoded, _NAME)

    async def unjoined(self) -> int:
        """Return how many ingested objects have not been joined into shots yet."""
        return await self._objects.count_documents(_unjoined(ObjectState.INGESTED))

    async def overdue(self, state: ObjectState, before_ms: int) -> list[OverdueObject]:
        """Return the unjoined objects in this state since before a time (epoch ms)."""
        found = self._objects.find(_unjoined(state), {"key": 1, "since": 1})
        unjoined = await all_readable(found, documents.decoded_overdue, _NAME)
        return [each for each in unjoined if each.since < before_ms]

    async def tally(self, start_ms: int, end_ms: int) -> Tally:
        """Count the objects that arrived in [start, end) (epoch ms), by state and by reason.

        Every state has an entry.
        """
        parts = steps(start_ms, end_ms, _FIVE_MINUTES_MS)
        return Tally.of([await self._tally(*part) for part in parts])

    async def _tally(self, start_ms: int, end_ms: int) -> Tally:
        groups = self._objects.aggregate(
            [
                {"$match": {"arrived_at": {"$gte": start_ms, "$lt": end_ms}, "size": COUNTABLE}},
                {
                    "$group": {
                        "_id": {"state": "$state", "reason": "$reason"},
                        "count": {"$sum": 1},
                        "bytes": {"$sum": "$size"},
                    }
                },
            ]
        )
        states, reasons, size = Counter[str](), Counter[str](), 0
        async for state, reason, count, bytes_ in readable(groups, documents.decoded_group, _NAME):
            states[state] += count
            if reason:
                reasons[reason] += count
            size += bytes_
        return Tally(states, reasons, size)

    async def objects(
        self,
        start_ms: int,
        end_ms: int,
        state: ObjectState | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[ObjectEntry]:
        """Return the objects that arrived in [start, end) (epoch ms), sorted by arrival, then by id.

        A limit of 0 means no limit.
        """
        order = -1 if newest_first else 1
        in_state = {} if state is None else {"state": state}
        query = {"arrived_at": {"$gte": start_ms, "$lt": end_ms}, **in_state}
        found = self._objects.find(query).sort([("arrived_at", order), ("_id", order)]).limit(limit)
        return await all_readable(found, documents.decoded, _NAME)


def _unjoined(state: ObjectState) -> Filter:
    return {"state": state.value, "joined_at": NOT_YET}
