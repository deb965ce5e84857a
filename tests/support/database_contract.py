"""What the archive relies on in a database, of the server and of the double in memory alike."""

import asyncio
from typing import Any

import pytest
from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from shotwatch_common.archive.versioned import save_version
from shotwatch_shots.errors import Bug

SHOTS = [
    {"_id": "a", "pulse": 1, "kinds": ["hot_spot"], "score": 0.5, "model": {"version": "1"}},
    {"_id": "b", "pulse": 2, "kinds": [], "score": None, "model": None},
    {"_id": "c", "pulse": 3, "kinds": ["hot_spot", "ghost"], "score": 7.0, "model": {"version": "2"}},
    {"_id": "d", "pulse": 4, "kinds": ["ghost"], "score": 2, "model": {"version": "1"}},
]
QUERIES = {
    "equal": ({"pulse": 2}, "b"),
    "within": ({"pulse": {"$gte": 2, "$lt": 4}}, "bc"),
    "beyond": ({"pulse": {"$gt": 3}}, "d"),
    "at most": ({"score": {"$lte": 2}}, "ad"),
    "among": ({"_id": {"$in": ["d", "a", "x"]}}, "ad"),
    "not among": ({"score": {"$nin": [7.0, None]}}, "ad"),
    "another than": ({"model": {"$ne": None}}, "acd"),
    "null": ({"model": None}, "b"),
    "in an array": ({"kinds": "ghost"}, "cd"),
    "array": ({"kinds": []}, "b"),
    "nested": ({"model.version": "1"}, "ad"),
    "two fields": ({"kinds": "hot_spot", "pulse": {"$lt": 3}}, "a"),
    "not there": ({"nothing": None}, "abcd"),
}


async def ids(cursor: Any) -> str:
    return "".join([document["_id"] async for document in cursor])


class DatabaseContract:
    """The tests. A subclass's module has the fixture `collection`, an empty one of the archive's driver."""

    async def test_an_id_is_inserted_once(self, collection: Any) -> None:
        await collection.insert_one({"_id": "x", "n": 1})
        with pytest.raises(DuplicateKeyError):
            await collection.insert_one({"_id": "x", "n": 2})
        assert await collection.find_one({"_id": "x"}) == {"_id": "x", "n": 1}

    async def test_of_many_that_insert_the_rest_is_stored_although_one_exists(self, collection: Any) -> None:
        await collection.insert_one({"_id": "b", "n": 0})
        with pytest.raises(BulkWriteError) as error:
            await collection.insert_many([{"_id": "a"}, {"_id": "b"}, {"_id": "c"}], ordered=False)
        assert [each["code"] for each in error.value.details["writeErrors"]] == [11000]
        assert await ids(collection.find({}).sort("_id", 1)) == "abc"

    @pytest.mark.parametrize("query", QUERIES)
    async def test_a_query_finds(self, collection: Any, query: str) -> None:
        await collection.insert_many(SHOTS, ordered=False)
        asked, expected = QUERIES[query]
        assert await ids(collection.find(asked).sort("_id", 1)) == expected
        assert await collection.count_documents(asked) == len(expected)

    async def test_what_is_found_is_sorted_cut_and_only_what_was_asked_for(self, collection: Any) -> None:
        await collection.insert_many(SHOTS, ordered=False)
        assert await ids(collection.find({}).sort([("model.version", -1), ("_id", -1)]).limit(3)) == "cda"
        assert await ids(collection.find({}).sort("pulse", -1).limit(0)) == "dcba"
        wanted = {"model.version": 1, "pulse": 1}
        assert await collection.find_one({"_id": "a"}, wanted) == {
            "_id": "a",
            "pulse": 1,
            "model": {"version": "1"},
        }
        assert await collection.find_one({"_id": "a"}, {"_id": 0, "score": 1}) == {"score": 0.5}

    async def test_an_update_changes_only_what_it_names(self, collection: Any) -> None:
        await collection.insert_one({"_id": "x", "n": 1, "outbox": {"a": "1", "b": "2"}, "history": [1]})
        change = {
            "$set": {"outbox.c": "3"},
            "$unset": {"outbox.a": ""},
            "$inc": {"n": 2},
            "$push": {"history": 2},
        }
        result = await collection.update_one({"_id": "x", "n": 1}, change)
        assert (result.matched_count, result.modified_count) == (1, 1)
        expected = {"_id": "x", "n": 3, "outbox": {"b": "2", "c": "3"}, "history": [1, 2]}
        assert await collection.find_one({"_id": "x"}) == expected
        unchanged = await collection.update_one({"_id": "x"}, {"$set": {"n": 3}})
        assert (unchanged.matched_count, unchanged.modified_count) == (1, 0)
        missed = await collection.update_one({"_id": "x", "n": 1}, {"$set": {"n": 9}})
        assert (missed.matched_count, missed.modified_count) == (0, 0)

    async def test_what_is_set_on_insert_is_set_once(self, collection: Any) -> None:
        for n, upserted in ((1, "x"), (2, None)):
            change = {"$setOnInsert": {"first": n}, "$set": {"last": n}}
            assert (await collection.update_one({"_id": "x"}, change, upsert=True)).upserted_id == upserted
        assert await collection.find_one({"_id": "x"}) == {"_id": "x", "first": 1, "last": 2}

    async def test_many_are_changed_replaced_and_deleted_at_once(self, collection: Any) -> None:
        await collection.insert_many(SHOTS, ordered=False)
        await collection.update_many({"kinds": "ghost"}, {"$set": {"pulse": 0}})
        assert await ids(collection.find({"pulse": 0}).sort("_id", 1)) == "cd"
        await collection.bulk_write(
            [
                UpdateOne({"_id": "a", "pulse": {"$lt": 1}}, {"$set": {"pulse": 9}}),
                UpdateOne({"_id": "b"}, {"$set": {"pulse": 9}}),
                ReplaceOne({"_id": "e"}, {"_id": "e", "pulse": 9}, upsert=True),
            ],
            ordered=False,
        )
        assert await ids(collection.find({"pulse": 9}).sort("_id", 1)) == "be"
        await collection.replace_one({"_id": "e"}, {"_id": "e", "new": True}, upsert=True)
        assert await collection.find_one({"_id": "e"}) == {"_id": "e", "new": True}
        await collection.delete_one({"_id": "e"})
        await collection.delete_many({"pulse": {"$in": [0, 9]}})
        assert await ids(collection.find({})) == "a"

    async def test_groups_are_counted(self, collection: Any) -> None:
        await collection.insert_many(SHOTS, ordered=False)
        pipeline = [
            {"$match": {"model": {"$ne": None}}},
            {"$group": {"_id": "$model.version", "count": {"$sum": 1}, "pulses": {"$sum": "$pulse"}}},
        ]
        found = {
            group["_id"]: (group["count"], group["pulses"]) async for group in collection.aggregate(pipeline)
        }
        assert found == {"1": (2, 5), "2": (1, 3)}

    async def test_of_many_that_save_the_same_version_one_succeeds(self, collection: Any) -> None:
        for version in (1, 2, 3):
            saved = await asyncio.gather(
                *(save_version(collection, {"_id": "x", "version": version, "by": n}) for n in range(8))
            )
            assert sum(saved) == 1
            document = await collection.find_one({"_id": "x"})
            assert (document["version"], document["by"]) == (version, saved.index(True))

    async def test_a_document_that_is_too_large_is_a_bug(self, collection: Any) -> None:
        with pytest.raises(Bug, match="too large for the database"):
            await collection.insert_one({"_id": "x", "data": bytes(17 << 20)})
        assert await collection.find_one({"_id": "x"}) is None

    async def test_an_index_is_there_once_it_is_made(self, collection: Any) -> None:
        await collection.insert_one({"_id": "x"})
        await collection.create_index([("place", 1), ("pulse", 1)])
        keys = [list(map(tuple, index["key"])) for index in (await collection.index_information()).values()]
        assert [("place", 1), ("pulse", 1)] in keys
