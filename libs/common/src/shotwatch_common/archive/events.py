"""Anomaly events: stored before they are published, numbered without reuse."""

from collections.abc import Sequence
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from shotwatch_common.contracts import AnomalyEvent
from shotwatch_common.feedback import Span
from shotwatch_common.pulses import epoch_now
from shotwatch_common.vocabulary import Phase

_DUPLICATE_KEY = 11000
_MODEL_VERSION = "event.data.model.version"
_CONDITION = "event.data.condition"
_BEGINNINGS = (Phase.OPENED, Phase.PASSED)
"""Phases of which each condition has exactly one event."""


class Events:
    """Collection `events`: `_id` = event id; `published_at` is 0 until the broker has confirmed it."""

    def __init__(self, database: Any) -> None:
        self._events = database["events"]
        self._counters = database["counters"]

    async def ensure_indexes(self) -> None:
        await self._events.create_index([("sequence", 1)])
        await self._events.create_index([("shot", 1)])
        await self._events.create_index([("published_at", 1)])
        await self._events.create_index([("time", 1)])
        await self._events.create_index([(_MODEL_VERSION, 1)])
        await self._events.create_index([(_CONDITION, 1)])

    async def reserve(self, count: int) -> int:
        """The first of `count` sequence numbers that nobody else has."""
        while True:
            counter = await self._counters.find_one({"_id": "events"})
            if counter is None:
                await self._begin_counting()
                continue
            taken: int = counter["value"]
            result = await self._counters.update_one(
                {"_id": "events", "value": taken}, {"$set": {"value": taken + count}}
            )
            if result.modified_count:
                return taken + 1

    async def stored(self, event_ids: Sequence[str]) -> dict[str, AnomalyEvent]:
        """Those of these events that are stored already."""
        found = self._events.find({"_id": {"$in": list(event_ids)}}, {"event": 1})
        return {document["_id"]: AnomalyEvent.model_validate(document["event"]) async for document in found}

    async def add(self, events: Sequence[AnomalyEvent]) -> None:
        """Store events; one that is there already stays as it is."""
        if not events:
            return
        try:
            await self._events.insert_many([_document(event) for event in events], ordered=False)
        except BulkWriteError as error:
            if any(e["code"] != _DUPLICATE_KEY for e in (error.details or {}).get("writeErrors", [])):
                raise

    async def unpublished(self, event_ids: Sequence[str]) -> list[AnomalyEvent]:
        """Those of these events that the broker has not confirmed yet, in the order of their numbers."""
        waiting = {"_id": {"$in": list(event_ids)}, "published_at": 0}
        found = self._events.find(waiting, {"event": 1})
        events = [AnomalyEvent.model_validate(document["event"]) async for document in found]
        return sorted(events, key=lambda event: event.data.sequence)

    async def overdue(self, before_ms: int) -> list[str]:
        """Events that were stored before the given time, and that the broker has not confirmed yet."""
        waiting = self._events.find({"published_at": 0}, {"stored_at": 1})
        return [document["_id"] async for document in waiting if document["stored_at"] < before_ms]

    async def published(self, event_ids: Sequence[str]) -> None:
        """The broker has confirmed these events."""
        await self._events.update_many(
            {"_id": {"$in": list(event_ids)}}, {"$set": {"published_at": epoch_now()}}
        )

    async def of_shots(self, shots: Sequence[str]) -> list[AnomalyEvent]:
        """All events of these shots, of every revision."""
        found = self._events.find({"shot": {"$in": list(shots)}}, {"event": 1})
        return [AnomalyEvent.model_validate(document["event"]) async for document in found]

    async def spans(self, conditions: Sequence[str]) -> dict[str, Span]:
        """First and last shot (epoch ms) of each of these conditions, as far as they were told of."""
        told = {_CONDITION: {"$in": list(conditions)}}
        spans: dict[str, Span] = {}
        async for document in self._events.find(told, {"event.data": 1}):
            data = document["event"]["data"]
            since, until = spans.get(data["condition"], (data["since"], data["until"]))
            spans[data["condition"]] = min(since, data["since"]), max(until, data["until"])
        return spans

    async def find(self, event_id: str) -> AnomalyEvent | None:
        document = await self._events.find_one({"_id": event_id}, {"event": 1})
        return None if document is None else AnomalyEvent.model_validate(document["event"])

    async def numbered(self, after: int, last: int) -> list[dict[str, Any]]:
        """Stored events with after < sequence <= last, in the order of their numbers; some may be missing."""
        found = self._events.find({"sequence": {"$gt": after, "$lte": last}}).sort("sequence", 1)
        return [document async for document in found]

    async def last_number(self) -> int:
        """The highest sequence number that anybody has reserved."""
        counter = await self._counters.find_one({"_id": "events"})
        return int(counter["value"]) if counter else 0

    async def raised(self, models: Sequence[str]) -> dict[str, int]:
        """How many conditions each of these model versions raised, however many events told of them."""
        groups = self._events.aggregate(
            [
                {
                    "$match": {
                        _MODEL_VERSION: {"$in": list(models)},
                        "event.data.phase": {"$in": list(_BEGINNINGS)},
                    }
                },
                {"$group": {"_id": f"${_MODEL_VERSION}", "count": {"$sum": 1}}},
            ]
        )
        return dict.fromkeys(models, 0) | {group["_id"]: group["count"] async for group in groups}

    async def _begin_counting(self) -> None:
        try:
            await self._counters.insert_one({"_id": "events", "value": 0})
        except DuplicateKeyError:
            return


def _document(event: AnomalyEvent) -> dict[str, Any]:
    data = event.data
    return {
        "_id": event.id,
        "sequence": data.sequence,
        "shot": data.shot,
        "revision": data.revision,
        "kind": data.kind,
        "severity": data.severity,
        **data.place.model_dump(),
        "time": data.time,
        "stored_at": epoch_now(),
        "published_at": 0,
        "event": event.model_dump(mode="json", by_alias=True),
    }
