"""The results of reconciliation: one document per slice."""

from collections.abc import Iterable
from dataclasses import asdict
from operator import itemgetter

from pydantic import TypeAdapter
from pymongo import UpdateOne

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.readable import all_readable, id_of, needed, number, numbers, readable_one, text
from shotwatch_common.archive.secantus_gaps import FIRST_SET, among, at_least
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.reconciliation.slices import INBOX, Equality, Reconciled, Slice

_NAME = "reconciliations"
_CHANGES = "changes"
_NEVER = 0
_MOST_OPEN = 10_000
_tally = TypeAdapter(Tally)


class Reconciliations:
    """Collection `reconciliations`: `_id` is equality and start of the slice.

    `open` means that the slice must be checked (again), but not before `again_at`. `marked_at` is the time of
    the last change in the slice. All times are epoch ms. The document `changes` holds the time up to which
    changes have been noted; if it is malformed, reading it raises Retry.
    """

    def __init__(self, database: Database) -> None:
        self._reconciliations = database[_NAME]

    async def ensure_indexes(self) -> None:
        await self._reconciliations.create_index([("start", 1)])
        await self._reconciliations.create_index([("open", 1), ("checked_at", 1)])
        await self._reconciliations.create_index([("marked_at", 1)])
        await self._reconciliations.create_index([("imbalanced", 1)])

    async def noted_until(self) -> int | None:
        """Return the time up to which changes have been noted (epoch ms); None if they never were."""
        document = await self._reconciliations.find_one({"_id": _CHANGES})
        return needed(document, lambda found: number(found["until"]), _NAME)

    async def note(self, slices: Iterable[Slice], until: int) -> None:
        """Mark slices in which something changed before `until` (epoch ms), so that they are checked."""
        marks = [_mark(each, until) for each in set(slices)]
        if marks:
            await self._reconciliations.bulk_write(marks, ordered=False)
        await self._reconciliations.update_one({"_id": _CHANGES}, {"$set": {"until": until}}, upsert=True)

    async def known(self, slices: Iterable[Slice]) -> set[Slice]:
        """Return those of these slices that have a document."""
        ids = {_id(each): each for each in slices}
        found = among(self._reconciliations, "_id", list(ids), {"_id": 1})
        return {ids[id_] for id_ in await all_readable(found, id_of, _NAME)}

    async def due(self, now: int) -> list[Slice]:
        """Return the slices that must be checked now; those that have waited longest come first."""
        found = self._reconciliations.find({"open": True}, {"equality": 1, "start": 1, "again_at": 1})
        waiting = await all_readable(
            found.limit(_MOST_OPEN), lambda each: (number(each["again_at"]), _slice(each)), _NAME
        )
        return [slice_ for again_at, slice_ in sorted(waiting, key=itemgetter(0)) if again_at <= now]

    async def reopen_oldest(self, before: int) -> None:
        """Mark the settled slice with the oldest check as open, if that was before a time (epoch ms)."""
        checked = {"open": False, "checked_at": {"$gte": FIRST_SET, "$lt": before}}
        async for document in self._reconciliations.find(checked, {"_id": 1}).sort("checked_at", 1).limit(1):
            await self._reconciliations.update_one(document, {"$set": {"open": True}})

    async def write(self, result: Reconciled, again_at: int) -> None:
        """Store a result.

        The slice stays open unless it is settled and nothing has changed since the check.
        """
        outcome = result.outcome
        changes = {
            "counts": dict(outcome.counts),
            "imbalances": [_imbalance_document(each) for each in outcome.imbalances],
            "confirmed": [_imbalance_document(each) for each in result.confirmed],
            "imbalanced": outcome.total,
            "more": outcome.more,
            "under_way": outcome.under_way,
            "pending": [_imbalance_document(each) for each in outcome.pending],
            "tally": asdict(outcome.tally) if outcome.tally else None,
            "checked_at": result.checked_at,
            "took_ms": result.took_ms,
            "again_at": again_at,
            "open": True,
        }
        slice_ = result.slice
        first = {"equality": slice_.equality.value, "start": slice_.start, "marked_at": 0}
        await self._reconciliations.update_one(
            {"_id": _id(slice_)}, {"$set": changes, "$setOnInsert": first}, upsert=True
        )
        if result.settled:
            unchanged = {"_id": _id(slice_), "marked_at": {"$lte": result.checked_at}}
            await self._reconciliations.update_one(unchanged, {"$set": {"open": False}})

    async def find(self, slice_: Slice) -> Reconciled | None:
        document = await self._reconciliations.find_one({"_id": _id(slice_)})
        return readable_one(document, _reconciled, _NAME)

    async def overlapping(self, start_ms: int, end_ms: int) -> list[Reconciled]:
        """Return the results of the inbox and of every slice that overlaps [start, end) (epoch ms)."""
        inbox = await self.find(INBOX)
        starts = {"$gt": start_ms - DAY_MS, "$lt": end_ms}
        found = await all_readable(self._reconciliations.find({"start": starts}), _reconciled, _NAME)
        return [
            *([inbox] if inbox else []),
            *(each for each in found if each.slice != INBOX and each.slice.overlaps(start_ms, end_ms)),
        ]

    async def changed_since(self, time_ms: int) -> list[Slice]:
        """Return the slices in which something changed at this time (epoch ms) or later."""
        found = self._reconciliations.find({"marked_at": at_least(time_ms)})
        return await all_readable(found, _slice, _NAME)

    async def imbalanced(self) -> list[Reconciled]:
        """Return the results that have imbalances."""
        found = self._reconciliations.find({"imbalanced": at_least(1)})
        return await all_readable(found.limit(_MOST_OPEN), _reconciled, _NAME)


def _mark(slice_: Slice, at: int) -> UpdateOne:
    first: Document = {
        "equality": slice_.equality.value,
        "start": slice_.start,
        "counts": {},
        "imbalances": [],
        "confirmed": [],
        "imbalanced": 0,
        "more": 0,
        "under_way": 0,
        "pending": [],
        "tally": None,
        "checked_at": _NEVER,
        "took_ms": 0,
        "again_at": 0,
    }
    return UpdateOne(
        {"_id": _id(slice_)}, {"$set": {"open": True, "marked_at": at}, "$setOnInsert": first}, upsert=True
    )


def _id(slice_: Slice) -> str:
    return f"{slice_.equality}/{slice_.start}"


def _slice(document: Document) -> Slice:
    slice_ = Slice(Equality(document["equality"]), number(document["start"]))
    if document["_id"] != _id(slice_):
        raise ValueError(f"its id should be {_id(slice_)}")
    return slice_


def _reconciled(document: Document) -> Reconciled:
    imbalances, confirmed, pending = (
        tuple(Imbalance(text(each["subject"]), text(each["wrong"])) for each in document[name])
        for name in ("imbalances", "confirmed", "pending")
    )
    tally = _tally.validate_python(document["tally"]) if document["tally"] else None
    more, under_way = number(document["more"]), number(document["under_way"])
    outcome = Outcome(numbers(document["counts"]), imbalances, more, under_way, pending, tally)
    return Reconciled(
        _slice(document),
        outcome,
        number(document["checked_at"]),
        number(document["took_ms"]),
        confirmed,
        number(document["marked_at"]),
    )


def _imbalance_document(imbalance: Imbalance) -> dict[str, str]:
    return {"subject": imbalance.subject, "wrong": imbalance.wrong}
