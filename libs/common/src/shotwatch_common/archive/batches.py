"""The batches in which shots were closed: their members, blocks and rows."""

from typing import Any

from shotwatch_common.contracts import ShotsClosed
from shotwatch_common.pulses import epoch_now

_NOT_YET = 0


class Batches:
    """Collection `batches`: `_id` = batch id; `judged_at` is 0 until the batch's shots are written."""

    def __init__(self, database: Any) -> None:
        self._batches = database["batches"]

    async def ensure_indexes(self) -> None:
        await self._batches.create_index([("window", 1)])
        await self._batches.create_index([("judged_at", 1)])

    async def add(self, batch: ShotsClosed) -> None:
        """Keep a batch; one that is there already stays as it is."""
        document = {
            "window": batch.window_id,
            "shots": len(batch.pulses),
            "closed_at": epoch_now(),
            "judged_at": _NOT_YET,
            "message": batch.model_dump_json().encode(),
        }
        await self._batches.update_one({"_id": batch.batch_id}, {"$setOnInsert": document}, upsert=True)

    async def judged(self, batch_id: str) -> None:
        """The batch's shots are written, and its events are told."""
        await self._batches.update_one({"_id": batch_id}, {"$set": {"judged_at": epoch_now()}})

    async def find(self, batch_id: str) -> ShotsClosed | None:
        document = await self._batches.find_one({"_id": batch_id})
        return None if document is None else ShotsClosed.model_validate_json(document["message"])

    async def of_window(self, window_id: str) -> list[tuple[ShotsClosed, int]]:
        """The batches of a window and when each was closed (epoch ms), in that order."""
        found = self._batches.find({"window": window_id})
        batches = [
            (ShotsClosed.model_validate_json(document["message"]), int(document["closed_at"]))
            async for document in found
        ]
        return sorted(batches, key=lambda batch: batch[1])

    async def unjudged(self) -> int:
        """How many shots are closed and wait for their verdict."""
        waiting = self._batches.find({"judged_at": _NOT_YET}, {"shots": 1})
        return sum([document["shots"] async for document in waiting])
