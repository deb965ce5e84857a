"""The ledger: where each object is, and what happened to it, when and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shotwatch_common.archive.earliest import earliest
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import current_attempt, current_trace_id
from shotwatch_shots.reconciliation.sides import KnownObject, Tally
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState

NOT_YET = 0
LAST_CHARACTER = "\U0010ffff"
"""The last Unicode character. It ends the range of all keys with a prefix."""
_AT_ONCE = 500
_NOT_JOINED = ("off_grid", "second_samples", "unexpected")
"""Facts that the service aggregate stores: how many records of an object are in no window."""
_KNOWN = dict.fromkeys(
    (
        "key",
        "etag",
        "size",
        "state",
        "reason",
        "since",
        "arrived_at",
        "joined_at",
        "location",
        "records",
        "blocks_id",
        "history.state",
        *_NOT_JOINED,
    ),
    1,
)
"""The fields that a `KnownObject` is built from."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of an object's history."""

    state: ObjectState
    stage: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """Time at which an object was last seen in the inbox, its state, and since when it has it (epoch ms)."""

    at: int
    state: ObjectState
    since: int


class Ledger:
    """Collection `objects`: one document per object version; `_id` is the object id.

    Every write is an update by id, so repeating a step leaves the same state. `since` is the time at which
    the object entered its state. `joined_at` is the time at which its records were joined, NOT_YET before
    that. Both are epoch ms.
    """

    def __init__(self, database: Any) -> None:
        self._objects = database["objects"]

    async def ensure_indexes(self) -> None:
        await self._objects.create_index([("arrived_at", 1)])
        await self._objects.create_index([("key", 1), ("arrived_at", 1)])
        await self._objects.create_index([("state", 1), ("joined_at", 1)])
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

    async def _enter(
        self, ref: ObjectRef, stage: str, always: Mapping[str, Any], when_new: Mapping[str, Any]
    ) -> bool:
        first = {
            **ref.model_dump(exclude={"object_id"}),
            "state": ObjectState.WAITING,
            "reason": "",
            "since": epoch_now(),
            "joined_at": NOT_YET,
            "location": location(ref.bucket, ref.key),
            "history": [_step(Entry(ObjectState.WAITING, stage))],
        }
        result = await self._objects.update_one(
            {"_id": ref.object_id}, {"$setOnInsert": {**first, **when_new}, **always}, upsert=True
        )
        return result.upserted_id is not None

    async def place_last(self, ref: ObjectRef) -> ObjectRef:
        """Give the object an arrival time later than that of every other version of its file, and store it.

        Return the object with that time. Call this for the version that the store holds: it was stored last,
        whatever the times of the notifications are (the store's clock may have been set back).
        """
        versions = self._objects.find({"key": ref.key}, {"arrived_at": 1}).sort("arrived_at", -1).limit(2)
        arrivals = {document["_id"]: document["arrived_at"] async for document in versions}
        latest_other = max((at for id_, at in arrivals.items() if id_ != ref.object_id), default=NOT_YET)
        placed = ref.model_copy(update={"arrived_at": max(ref.arrived_at, latest_other + 1)})
        if arrivals.get(ref.object_id) != placed.arrived_at:
            await self.note(ref.object_id, {"arrived_at": placed.arrived_at})
        return placed

    async def seen(self, object_ids: Sequence[str]) -> dict[str, Seen]:
        """Return when each of these objects was last seen in the inbox; unknown objects are left out."""
        found = self._objects.find({"_id": {"$in": list(object_ids)}}, {"seen_at": 1, "state": 1, "since": 1})
        return {
            each["_id"]: Seen(each["seen_at"], ObjectState(each["state"]), each["since"])
            async for each in found
        }

    async def known(self, object_ids: Sequence[str]) -> set[str]:
        """Return those of these objects that the ledger has; any number may be passed."""
        parts = (object_ids[n : n + _AT_ONCE] for n in range(0, len(object_ids), _AT_ONCE))
        return {known for part in parts for known in await self.seen(part)}

    async def places(self, object_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return bucket and key of those of these objects that have a location; any number may be passed."""
        places: dict[str, tuple[str, str]] = {}
        for n in range(0, len(object_ids), _AT_ONCE):
            wanted = {"_id": {"$in": list(object_ids[n : n + _AT_ONCE])}, "location": {"$ne": None}}
            async for found in self._objects.find(wanted, {"location": 1}):
                places[found["_id"]] = found["location"]["bucket"], found["location"]["key"]
        return places

    async def claim(self, object_id: str, before: Seen, seen_at: int) -> bool:
        """Claim an object that was last seen at `before.at`; return False if another process was faster."""
        known = {"_id": object_id, "seen_at": before.at}
        result = await self._objects.update_one(known, {"$set": {"seen_at": seen_at}})
        return bool(result.modified_count)

    async def see(self, object_ids: Sequence[str]) -> None:
        """Record that the objects are in the inbox now and are being processed."""
        await self._objects.update_many(
            {"_id": {"$in": list(object_ids)}}, {"$set": {"seen_at": epoch_now()}}
        )

    async def settle(
        self, object_id: str, entry: Entry, reason: str = "", facts: Mapping[str, Any] | None = None
    ) -> bool:
        """Set the object's state to `entry.state`, and store `facts` (records, devices …) beside it.

        Return whether the state changed. A dead-lettered object stays dead-lettered until it is revived or
        starts again.
        """
        changes = {"state": entry.state, "since": epoch_now(), "reason": reason, "detail": entry.why}
        update = {"$set": {**changes, **(facts or {})}, "$push": {"history": _step(entry)}}
        other = {"_id": object_id, "state": {"$nin": [entry.state, ObjectState.DEAD_LETTERED]}}
        if (await self._objects.update_one(other, update)).matched_count:
            return True
        await self._objects.update_one({"_id": object_id, "state": entry.state}, update)
        return False

    async def revive(self, object_id: str, stage: str, why: str) -> None:
        """Return a dead-lettered object to its previous state, because its message is being processed again.

        An object that is not dead-lettered stays unchanged.
        """
        document = await self.find(object_id)
        if document is None or document["state"] != ObjectState.DEAD_LETTERED:
            return
        states = (ObjectState(step["state"]) for step in reversed(document["history"]))
        before = next(state for state in states if state is not ObjectState.DEAD_LETTERED)
        await self._objects.update_one(
            {"_id": object_id, "state": ObjectState.DEAD_LETTERED},
            {
                "$set": {"state": before, "since": epoch_now(), "reason": "", "detail": why},
                "$push": {"history": _step(Entry(before, stage, why))},
            },
        )

    async def newest(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return the object version that arrived last for each of these keys."""
        newest: dict[str, dict[str, Any]] = {}
        async for document in self._objects.find({"key": {"$in": list(keys)}}).sort("arrived_at", 1):
            newest[document["key"]] = document
        return list(newest.values())

    async def start_again(self, object_id: str, stage: str, why: str) -> None:
        """Reset the object to `waiting`, as if it had never been seen.

        The sweep feeds it in once it is in the inbox.
        """
        document = await self.find(object_id)
        if document is None:
            return
        changes = {
            "state": ObjectState.WAITING,
            "since": epoch_now(),
            "joined_at": NOT_YET,
            "seen_at": 0,
            "location": location(document["bucket"], document["key"]),
        }
        step = _step(Entry(ObjectState.WAITING, stage, why))
        await self._objects.update_one(
            {"_id": object_id},
            {"$set": {**changes, "reason": "", "detail": why}, "$push": {"history": step}},
        )

    async def tell(self, keys: Sequence[str], stage: str, why: str) -> None:
        """Add an entry to the history of these files: their results were computed again. The state stays."""
        for document in await self.newest(keys):
            step = _step(Entry(ObjectState(document["state"]), stage, why))
            await self._objects.update_one({"_id": document["_id"]}, {"$push": {"history": step}})

    async def bury(self, object_id: str, stage: str, why: str) -> None:
        """Record why a dead-lettered message about the object was discarded. The state stays."""
        step = _step(Entry(ObjectState.DEAD_LETTERED, stage, why))
        await self._objects.update_one(
            {"_id": object_id}, {"$set": {"detail": why}, "$push": {"history": step}}
        )

    async def note(self, object_id: str, facts: Mapping[str, Any]) -> None:
        """Store facts about an object without changing its state."""
        await self._objects.update_one({"_id": object_id}, {"$set": dict(facts)})

    async def find(self, object_id: str) -> dict[str, Any] | None:
        document: dict[str, Any] | None = await self._objects.find_one({"_id": object_id})
        return document

    async def unjoined(self) -> int:
        """Return how many ingested objects have not been joined into shots yet."""
        count: int = await self._objects.count_documents(_unjoined(ObjectState.INGESTED))
        return count

    async def overdue(self, state: ObjectState, before_ms: int) -> list[dict[str, Any]]:
        """Return the unjoined objects in this state since before a time (epoch ms): `_id`, `key`, `since`."""
        found = self._objects.find(_unjoined(state), {"key": 1, "since": 1})
        return [document async for document in found if document["since"] < before_ms]

    async def tally(self, start_ms: int, end_ms: int) -> Tally:
        """Count the objects that arrived in [start, end) (epoch ms), by state and by reason.

        Every state has an entry.
        """
        groups = self._objects.aggregate(
            [
                {"$match": {"arrived_at": {"$gte": start_ms, "$lt": end_ms}}},
                {
                    "$group": {
                        "_id": {"state": "$state", "reason": "$reason"},
                        "count": {"$sum": 1},
                        "bytes": {"$sum": "$size"},
                    }
                },
            ]
        )
        states = {str(state): 0 for state in ObjectState}
        reasons: dict[str, int] = {}
        size = 0
        async for group in groups:
            state, reason = group["_id"]["state"], group["_id"]["reason"]
            states[state] += group["count"]
            if reason:
                reasons[reason] = reasons.get(reason, 0) + group["count"]
            size += group["bytes"]
        return Tally(states, reasons, size)

    async def located(self, after: str, last: str) -> list[KnownObject]:
        """Return the objects with after < location key <= last, in all buckets."""
        found = self._objects.find({"location.key": {"$gt": after, "$lte": last}}, _KNOWN)
        return [_known(document) async for document in found]

    async def located_at(self, keys: Sequence[str]) -> list[KnownObject]:
        """Return the objects that are stored under one of these keys, in any bucket."""
        found = self._objects.find({"location.key": {"$in": list(keys)}}, _KNOWN)
        return [_known(document) async for document in found]

    async def in_bucket(self, bucket: str, states: Sequence[ObjectState]) -> list[KnownObject]:
        """Return the objects in these states that are located in a bucket."""
        found = self._objects.find({"state": {"$in": list(states)}}, _KNOWN)
        located = [_known(document) async for document in found]
        return [each for each in located if each.location is not None and each.location[0] == bucket]

    async def find_known(self, object_ids: Sequence[str]) -> list[KnownObject]:
        """Return those of these objects that the ledger has."""
        found = self._objects.find({"_id": {"$in": list(object_ids)}}, _KNOWN)
        return [_known(document) async for document in found]

    async def versions(self, keys: Sequence[str]) -> list[KnownObject]:
        """Return every version of the files with these keys."""
        found = self._objects.find({"key": {"$in": list(keys)}}, _KNOWN)
        return [_known(document) async for document in found]

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of these keys under which an object arrived; any number may be passed."""
        known: set[str] = set()
        for n in range(0, len(keys), _AT_ONCE):
            found = self._objects.find({"key": {"$in": list(keys[n : n + _AT_ONCE])}}, {"key": 1})
            known |= {document["key"] async for document in found}
        return known

    async def arrived(self, start_ms: int, end_ms: int) -> list[KnownObject]:
        """Return the objects that arrived in [start, end) (epoch ms)."""
        found = self._objects.find({"arrived_at": {"$gte": start_ms, "$lt": end_ms}}, _KNOWN)
        return [_known(document) async for document in found]

    async def first_arrival(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first object arrived in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._objects, "arrived_at", start_ms, end_ms)

    async def first_folder(self, after: str) -> str | None:
        """Return the first folder after this one in which the ledger has an object, in any bucket."""
        found = self._objects.find({"location.key": {"$gt": f"{after}/{LAST_CHARACTER}"}}, {"location": 1})
        async for document in found.sort("location.key", 1).limit(1):
            return str(document["location"]["key"]).partition("/")[0]
        return None

    async def changed(self, start_ms: int, end_ms: int) -> list[KnownObject]:
        """Return the objects that entered their state, or were joined, in [start, end) (epoch ms)."""
        then = {"$gte": start_ms, "$lt": end_ms}
        found = {
            document["_id"]: _known(document)
            for time in ("since", "joined_at")
            async for document in self._objects.find({time: then}, _KNOWN)
        }
        return list(found.values())

    async def first_change(self) -> int | None:
        """Return when the first known change was made (epoch ms); None if the ledger is empty."""
        async for document in self._objects.find({}, {"since": 1}).sort("since", 1).limit(1):
            return int(document["since"])
        return None

    async def objects(
        self,
        start_ms: int,
        end_ms: int,
        state: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the objects that arrived in [start, end) (epoch ms), sorted by arrival, then by id.

        A limit of 0 means no limit.
        """
        order = -1 if newest_first else 1
        query: dict[str, Any] = {"arrived_at": {"$gte": start_ms, "$lt": end_ms}}
        if state:
            query["state"] = state
        found = self._objects.find(query).sort([("arrived_at", order), ("_id", order)]).limit(limit)
        return [document async for document in found]


def _known(document: Mapping[str, Any]) -> KnownObject:
    where = document["location"]
    return KnownObject(
        document["_id"],
        document["key"],
        document["etag"],
        document["size"],
        ObjectState(document["state"]),
        document["since"],
        document["arrived_at"],
        document["joined_at"],
        (where["bucket"], where["key"]) if where else None,
        document.get("records", 0),
        sum(document.get(fact, 0) for fact in _NOT_JOINED),
        document["reason"],
        document.get("blocks_id", ""),
        frozenset(ObjectState(step["state"]) for step in document["history"]),
    )


def _unjoined(state: ObjectState) -> dict[str, Any]:
    return {"state": state.value, "joined_at": NOT_YET}


def location(bucket: str, key: str) -> dict[str, str]:
    """Return the location of an object in the form that the ledger stores."""
    return {"bucket": bucket, "key": key}


def _step(entry: Entry) -> dict[str, Any]:
    return {
        "state": entry.state,
        "stage": entry.stage,
        "attempt": current_attempt(),
        "why": entry.why,
        "at": epoch_now(),
        "trace_id": current_trace_id(),
    }
