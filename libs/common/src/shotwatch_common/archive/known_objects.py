"""The objects of the ledger as reconciliation reads them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from shotwatch_common.archive.driver import Database, Document, Filter
from shotwatch_common.archive.earliest import earliest, first
from shotwatch_common.archive.ledger_documents import KNOWN_FIELDS, decoded_known
from shotwatch_common.archive.readable import all_readable, id_of, number, readable, readable_one, text
from shotwatch_common.archive.secantus_gaps import among, at_least
from shotwatch_shots.reconciliation.sides import KnownObject
from shotwatch_shots.vocabulary import ObjectState

LAST_CHARACTER = "\U0010ffff"
"""The last Unicode character. It ends the range of all keys with a prefix."""
_NAME = "objects"


class KnownObjects:
    """Collection `objects`, read in bulk. Only `Ledger` writes it."""

    def __init__(self, database: Database) -> None:
        self._objects = database[_NAME]

    async def end_of_part(self, after: str, last: str, most: int) -> str:
        """Return the location key at which the first `most` objects with after < key <= last end.

        That is `last` if there are fewer. More objects may have the returned key: other versions of a file.
        """
        within = self._objects.find(_located(after, last), {"location": 1}).sort("location.key", 1)
        keys = [document async for document in within.limit(most)]
        found = readable_one(keys[-1], _key, _NAME) if len(keys) == most else None
        return last if found is None else found

    async def located(self, after: str, last: str) -> list[KnownObject]:
        """Return the objects with after < location key <= last, in all buckets."""
        found = self._objects.find(_located(after, last), KNOWN_FIELDS)
        return await all_readable(found, decoded_known, _NAME)

    async def located_at(self, keys: Sequence[str]) -> list[KnownObject]:
        """Return the objects that are stored under one of these keys, in any bucket."""
        found = among(self._objects, "location.key", keys, KNOWN_FIELDS)
        return await all_readable(found, decoded_known, _NAME)

    async def in_bucket(self, bucket: str, states: Sequence[ObjectState]) -> list[KnownObject]:
        """Return the objects in these states that are located in a bucket."""
        found = self._objects.find({"state": {"$in": list(states)}}, KNOWN_FIELDS)
        located = await all_readable(found, decoded_known, _NAME)
        return [each for each in located if each.location is not None and each.location[0] == bucket]

    async def find(self, object_ids: Sequence[str]) -> list[KnownObject]:
        """Return those of these objects that the ledger has."""
        found = among(self._objects, "_id", object_ids, KNOWN_FIELDS)
        return await all_readable(found, decoded_known, _NAME)

    async def versions(self, keys: Sequence[str]) -> list[KnownObject]:
        """Return every version of the files with these keys."""
        found = among(self._objects, "key", keys, KNOWN_FIELDS)
        return await all_readable(found, decoded_known, _NAME)

    async def of_keys(self, keys: Sequence[str]) -> Mapping[str, set[str]]:
        """Return the ids of the objects that arrived under each of these keys, by key."""
        known: defaultdict[str, set[str]] = defaultdict(set)
        found = among(self._objects, "key", keys, {"key": 1})
        async for key, id_ in readable(found, lambda each: (text(each["key"]), id_of(each)), _NAME):
            known[key].add(id_)
        return known

    async def arrived(self, start_ms: int, end_ms: int) -> list[KnownObject]:
        """Return the objects that arrived in [start, end) (epoch ms)."""
        found = self._objects.find({"arrived_at": {"$gte": start_ms, "$lt": end_ms}}, KNOWN_FIELDS)
        return await all_readable(found, decoded_known, _NAME)

    async def first_arrival(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first object arrived in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._objects, _NAME, "arrived_at", start_ms, end_ms)

    async def first_folder(self, after: str) -> str | None:
        """Return the first folder after this one in which the ledger has an object, in any bucket."""
        later = {"$gt": f"{after}/{LAST_CHARACTER}", "$lt": LAST_CHARACTER}
        return await first(
            lambda: self._objects.find({"location.key": later}, {"location": 1}).sort("location.key", 1),
            lambda each: _key(each).partition("/")[0],
            _NAME,
        )

    async def changed(self, start_ms: int, end_ms: int) -> list[KnownObject]:
        """Return the objects that entered their state, or were joined, in [start, end) (epoch ms)."""
        then = {"$gte": start_ms, "$lt": end_ms}
        found = {
            known.id: known
            for time in ("since", "joined_at")
            async for known in readable(self._objects.find({time: then}, KNOWN_FIELDS), decoded_known, _NAME)
        }
        return list(found.values())

    async def first_change(self) -> int | None:
        """Return when the first known change was made (epoch ms); None if the ledger is empty."""
        return await first(
            lambda: self._objects.find({"since": at_least(0)}, {"since": 1}).sort("since", 1),
            lambda each: number(each["since"]),
            _NAME,
        )


def _located(after: str, last: str) -> Filter:
    return {"location.key": {"$gt": after, "$lte": last}}


def _key(document: Document) -> str:
    return text(document["location"]["key"])
