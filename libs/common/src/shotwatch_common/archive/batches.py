"""The batches in which shots were closed: their members, blocks and rows."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from pydantic import BaseModel

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.earliest import earliest
from shotwatch_common.archive.readable import all_readable, id_of, number, readable, readable_one, text
from shotwatch_common.archive.secantus_gaps import among
from shotwatch_common.clock import epoch_now
from shotwatch_shots.batch import CompletedBatch, ShotBatch
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import window_start
from shotwatch_shots.reconciliation.sides import ClosedShots, WindowOfBatch
from shotwatch_shots.vocabulary import ShotState

_NAME = "batches"
_NOT_YET = 0
_COMPLETIONS = ("judged_at", "detailed_at")
"""The times at which a batch has something new that people query."""


class _Pulses(BaseModel):
    """The part of a batch's message that reconciliation reads; the members are left out."""

    pulses: list[int]
    revisions: list[int]


class Batches:
    """Collection `batches`: `_id` is the batch id; `judged_at` is 0 until the batch's shots are written.

    `detailed_at` is when its shots were last measured in detail. It is not set before that.
    `dead_lettered` is the reason why a message about the batch was dead-lettered, or "" if none was.
    """

    def __init__(self, database: Database) -> None:
        self._batches = database[_NAME]

    async def ensure_indexes(self) -> None:
        await self._batches.create_index([("window", 1)])
        await self._batches.create_index([("judged_at", 1)])
        await self._batches.create_index([("arrived_at", 1)])
        await self._batches.create_index([("closed_at", 1)])
        await self._batches.create_index([("detailed_at", 1)])

    async def add(self, batch: ShotBatch) -> None:
        """Store a batch; a batch that exists already stays unchanged."""
        document = {
            "window": batch.window_id,
            "shots": len(batch.pulses),
            "closed_at": epoch_now(),
            "judged_at": _NOT_YET,
            "dead_lettered": "",
            "arrived_at": batch.last_arrival,
            "message": batch.model_dump_json().encode(),
        }
        await self._batches.update_one({"_id": batch.batch_id}, {"$setOnInsert": document}, upsert=True)

    async def judged(self, batch_id: str) -> None:
        """Mark a batch as judged: its shots are written and its events are published."""
        changes = {"judged_at": epoch_now(), "dead_lettered": ""}
        await self._batches.update_one({"_id": batch_id}, {"$set": changes})

    async def detailed(self, batch_id: str) -> None:
        """Record that shots of a batch were measured in detail, which may be after they were judged."""
        await self._batches.update_one({"_id": batch_id}, {"$set": {"detailed_at": epoch_now()}})

    async def dead_letter(self, batch_id: str, stage: str, reason: str) -> None:
        """Record that a message about the batch was dead-lettered, unless the batch is already judged."""
        waiting = {"_id": batch_id, "judged_at": _NOT_YET}
        await self._batches.update_one(waiting, {"$set": {"dead_lettered": f"{stage}: {reason}"}})

    async def revive(self, batch_id: str) -> None:
        """Clear the dead-letter mark of a batch: its message is being processed again."""
        await self._batches.update_one({"_id": batch_id}, {"$set": {"dead_lettered": ""}})

    async def find(self, batch_id: str) -> ShotBatch | None:
        document = await self._batches.find_one({"_id": batch_id})
        return readable_one(document, _batch, _NAME)

    async def of_window(self, window_id: str) -> list[tuple[ShotBatch, int]]:
        """Return the batches of a window and when each was closed (epoch ms), sorted by that time."""
        found = self._batches.find({"window": window_id})
        batches = await all_readable(found, lambda each: (_batch(each), number(each["closed_at"])), _NAME)
        return sorted(batches, key=lambda batch: batch[1])

    async def overdue(self, before_ms: int) -> list[str]:
        """Return the ids of batches that were closed before a time (epoch ms) and are not yet judged.

        Batches with a dead-lettered message are left out.
        """
        waiting = {"judged_at": _NOT_YET}
        found = self._batches.find(waiting, {"closed_at": 1, "dead_lettered": 1})
        batches = await all_readable(
            found, lambda each: (id_of(each), number(each["closed_at"]), _why(each)), _NAME
        )
        return [id_ for id_, closed_at, why in batches if closed_at < before_ms and not why]

    async def states(self, start_ms: int, end_ms: int) -> dict[str, int]:
        """Count the shots whose last file arrived in [start, end) (epoch ms), by state.

        Return state → number of shots, with an entry for every state. A shot that was closed more than once
        is counted once per batch.
        """
        states = {str(state): 0 for state in ShotState}
        arrived = {"arrived_at": {"$gte": start_ms, "$lt": end_ms}}
        wanted = {"shots": 1, "judged_at": 1, "dead_lettered": 1}
        found = self._batches.find(arrived, wanted)
        async for state, shots in readable(found, lambda each: (_state(each), number(each["shots"])), _NAME):
            states[state] += shots
        return states

    async def closed(self, window_ids: Sequence[str]) -> AsyncIterator[ClosedShots]:
        """Yield the shots of every batch of these windows."""
        found = among(self._batches, "window", window_ids)
        async for closed in readable(found, _closed, _NAME):
            yield closed

    async def of_windows(self, start_ms: int, end_ms: int) -> list[WindowOfBatch]:
        """Return the window of each batch that was closed in [start, end) (epoch ms)."""
        closed = {"closed_at": {"$gte": start_ms, "$lt": end_ms}}
        found = self._batches.find(closed, {"window": 1, "judged_at": 1})
        return await all_readable(found, _window_of, _NAME)

    async def first_closed(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first batch in [start, end) (epoch ms) was closed; None if there is none."""
        return await earliest(self._batches, _NAME, "closed_at", start_ms, end_ms)

    async def windows_judged(self, start_ms: int, end_ms: int) -> list[str]:
        """Return the ids of the windows that had a batch judged in [start, end) (epoch ms)."""
        judged = {"judged_at": {"$gte": start_ms, "$lt": end_ms}}
        return sorted(set(await all_readable(self._batches.find(judged, {"window": 1}), _window, _NAME)))

    async def completed(self, start_ms: int, end_ms: int) -> list[CompletedBatch]:
        """Return the batches that were judged, or measured in detail, in [start, end) (epoch ms).

        A batch that is not judged yet is left out; its judgement follows.
        """
        found: list[CompletedBatch] = []
        for what in _COMPLETIONS:
            then = {what: {"$gte": start_ms, "$lt": end_ms}}
            fields = {"window": 1, "judged_at": 1, what: 1}
            completed = await all_readable(self._batches.find(then, fields), partial(_completed, what), _NAME)
            found += filter(None, completed)
        return found

    async def first_completed(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first batch in [start, end) (epoch ms) was judged or measured in detail."""
        times = [await earliest(self._batches, _NAME, what, start_ms, end_ms) for what in _COMPLETIONS]
        return min((time for time in times if time is not None), default=None)

    async def last_judged(self, window_id: str) -> int | None:
        """Return when the last batch of a window was judged (epoch ms); None while one of them is not."""
        found = self._batches.find({"window": window_id}, {"judged_at": 1})
        judged_at = await all_readable(found, lambda each: number(each["judged_at"]), _NAME)
        return max(judged_at, default=_NOT_YET) if all(judged_at) else None

    async def windows_closed(self, start_ms: int, end_ms: int) -> set[str]:
        """Return the ids of the windows that had shots closed in [start, end) (epoch ms)."""
        closed = {"closed_at": {"$gte": start_ms, "$lt": end_ms}}
        return set(await all_readable(self._batches.find(closed, {"window": 1}), _window, _NAME))

    async def undecided(self, window_id: str) -> Mapping[str, str]:
        """Return the unjudged batches of a window, each with its dead-letter reason ("" if there is none)."""
        wanted = {"judged_at": 1, "dead_lettered": 1}
        found = self._batches.find({"window": window_id}, wanted)
        batches = await all_readable(found, lambda each: (id_of(each), _state(each), _why(each)), _NAME)
        return {id_: why for id_, state, why in batches if state is not ShotState.JUDGED}

    async def forget(self, batch_ids: Sequence[str]) -> None:
        """Delete batches whose shots have all been closed again."""
        await self._batches.delete_many({"_id": {"$in": list(batch_ids)}})

    async def unjudged(self) -> int:
        """Return how many shots are closed and not yet judged."""
        waiting = self._batches.find({"judged_at": _NOT_YET}, {"shots": 1})
        return sum(await all_readable(waiting, lambda each: number(each["shots"]), _NAME))


def _batch(document: Document) -> ShotBatch:
    return ShotBatch.model_validate_json(document["message"])


def _closed(document: Document) -> ClosedShots:
    closed = _Pulses.model_validate_json(document["message"])
    revisions = dict(zip(closed.pulses, closed.revisions, strict=True))
    return ClosedShots(
        id_of(document), _window(document), revisions, _state(document), number(document["closed_at"])
    )


def _window_of(document: Document) -> WindowOfBatch:
    return WindowOfBatch(id_of(document), _window(document), number(document["judged_at"]))


def _window(document: Document) -> str:
    return text(document["window"])


def _completed(what: str, document: Document) -> CompletedBatch | None:
    """Return the batch whose time of `what` a document has; None if it is not judged."""
    window = _window(document)
    window_start(window)  # raises if this is not the id of a window
    ShotSeries.parse(window.rpartition("-")[0])
    if not number(document["judged_at"]):
        return None
    return CompletedBatch(id_of(document), window, number(document[what]))


def _why(document: Document) -> str:
    return text(document["dead_lettered"])


def _state(document: Document) -> ShotState:
    if number(document["judged_at"]):
        return ShotState.JUDGED
    return ShotState.DEAD_LETTERED if _why(document) else ShotState.WAITING
