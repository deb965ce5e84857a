"""Shots as people query them, and the batches in which they were closed."""

from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from shotwatch_common.contracts import ABSENT, VALID, ShotsClosed
from shotwatch_common.facility import Place
from shotwatch_common.pulses import shot_id

_DUPLICATE_KEY = 11000
_INDEXED_WITH_PULSE = (("kinds",), ("frontend", "amp", "arm"))
"""Fields that have an index together with the pulse, the most selective first."""
_JUDGEMENT = ("features", "score", "threshold", "kinds", "severity", "model")


class Shots:
    """Collections `shots` (`_id` = shot id) and `batches` (`_id` = batch id, the message that closed them).

    A write for a revision changes nothing when the shot is already at a later one.
    """

    def __init__(self, database: Any) -> None:
        self._shots = database["shots"]
        self._batches = database["batches"]

    async def ensure_indexes(self) -> None:
        await self._shots.create_index([("pulse", 1)])
        await self._shots.create_index([("frontend", 1), ("amp", 1), ("arm", 1), ("pulse", 1)])
        await self._shots.create_index([("kinds", 1), ("pulse", 1)])

    async def close(self, batch: ShotsClosed) -> None:
        """Write the shots of a batch: new ones, and those of which an earlier revision exists."""
        await self._batches.update_one(
            {"_id": batch.batch_id},
            {"$setOnInsert": {"message": batch.model_dump_json().encode()}},
            upsert=True,
        )
        documents = shot_documents(batch)
        await self._insert_new(documents)
        revised = [_revision_of(document) for document in documents if document["revision"] > 1]
        if revised:
            await self._shots.bulk_write(revised, ordered=False)

    async def judge(self, revisions: Mapping[str, int], judgements: Mapping[str, Mapping[str, Any]]) -> None:
        """Set features, score, kinds … of shots (by id) that are still at the given revision."""
        updates = [
            UpdateOne(
                {"_id": shot, "revision": revisions[shot]},
                {"$set": {**judgement, "status": "scored", "scored_at": round(time() * 1000)}},
            )
            for shot, judgement in judgements.items()
        ]
        if updates:
            await self._shots.bulk_write(updates, ordered=False)

    async def revisions(self, shots: Sequence[str]) -> dict[str, int]:
        """The revision at which each of these shots is now."""
        found = self._shots.find({"_id": {"$in": list(shots)}}, {"revision": 1})
        return {document["_id"]: document["revision"] async for document in found}

    async def find(self, shot: str) -> dict[str, Any] | None:
        document: dict[str, Any] | None = await self._shots.find_one({"_id": shot})
        return document

    async def batch(self, batch_id: str) -> ShotsClosed | None:
        """The message that closed a shot: its members, their blocks and rows."""
        document = await self._batches.find_one({"_id": batch_id})
        return None if document is None else ShotsClosed.model_validate_json(document["message"])

    async def page(
        self,
        query: Mapping[str, Any],
        start_ms: int,
        end_ms: int,
        limit: int,
        newest_first: bool = False,
        min_score: float | None = None,
    ) -> list[dict[str, Any]]:
        """Shots with start <= pulse < end that match `query` (equalities), in the order of their pulses.

        Shots of one pulse (of several places) are ordered by id. They come without their features. Limit 0 is
        no limit.
        """
        order = -1 if newest_first else 1
        asked = dict(query) if min_score is None else {**query, "score": {"$gte": min_score}}
        conditions = await self._led_by_index(asked, {"$gte": start_ms, "$lt": end_ms})
        found = (
            self._shots.find(conditions, {"features": 0})
            .sort([("pulse", order), ("_id", order)])
            .limit(limit)
        )
        return [document async for document in found]

    async def count(self, query: Mapping[str, Any], start_ms: int, end_ms: int) -> int:
        total: int = await self._shots.count_documents({**query, "pulse": {"$gte": start_ms, "$lt": end_ms}})
        return total

    async def _led_by_index(self, query: Mapping[str, Any], pulses: dict[str, int]) -> dict[str, Any]:
        """All conditions, in a form that every server answers from an index.

        Some use an index with several fields only when the query has no other fields, and otherwise look up
        the first field alone. So what such an index finds is asked for the rest in a second query.
        """
        for fields in _INDEXED_WITH_PULSE:
            if set(fields) < set(query):
                indexed = {field: query[field] for field in fields}
                rest = {field: value for field, value in query.items() if field not in fields}
                found = self._shots.find({**indexed, "pulse": pulses}, {"_id": 1})
                return {"_id": {"$in": [document["_id"] async for document in found]}, **rest}
        return {"pulse": pulses, **query}

    async def _insert_new(self, documents: Sequence[dict[str, Any]]) -> None:
        try:
            await self._shots.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(e["code"] != _DUPLICATE_KEY for e in (error.details or {}).get("writeErrors", [])):
                raise


def shot_documents(batch: ShotsClosed) -> list[dict[str, Any]]:
    """One document per shot of the batch, as queries see it."""
    where = batch.place
    place = Place(where.frontend, where.amp, where.arm)
    now = round(time() * 1000)
    missing: list[list[str]] = [[] for _ in batch.pulses]
    refused: list[list[dict[str, str]]] = [[] for _ in batch.pulses]
    for member in batch.members:
        for n, (source, verdict) in enumerate(zip(member.source, member.verdict, strict=True)):
            if source == ABSENT:
                missing[n].append(member.device)
            elif verdict != VALID:
                refused[n].append({"device": member.device, "reason": member.reasons[verdict - 1]})
    return [
        {
            "_id": shot_id(place, where.interval, pulse),
            **where.model_dump(),
            "pulse": pulse,
            "window": batch.window_id,
            "revision": batch.revisions[n],
            "complete": batch.complete[n],
            "missing": missing[n],
            "refused": refused[n],
            "batch": batch.batch_id,
            "index": n,
            "status": "closed",
            "kinds": [],
            "revisions": [{"revision": batch.revisions[n], "at": now, "complete": batch.complete[n]}],
        }
        for n, pulse in enumerate(batch.pulses)
    ]


def _revision_of(document: dict[str, Any]) -> UpdateOne:
    kept = {name: value for name, value in document.items() if name not in ("_id", "revisions")}
    return UpdateOne(
        {"_id": document["_id"], "revision": {"$lt": document["revision"]}},
        {
            "$set": kept,
            "$unset": dict.fromkeys((name for name in _JUDGEMENT if name not in kept), ""),
            "$push": {"revisions": document["revisions"][0]},
        },
    )
