"""The embedded database's storage keeps in its tables what SecantusDB's own storage keeps there."""

import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from secantus import storage as own_storage
from secantus.sortkey import encode_value_directed
from secantus.storage import _IDX_ENTRIES_TABLE, _IDX_TABLE, Storage

from shotwatch_embedded.servers.secantus_storage import Codes, LeanStorage

PLACE = "facility", "objects"
INDEXES = {
    "state": {"state": 1},
    "state_at": {"state": 1, "at": 1},
    "folder": {"location.key": 1},
    "files": {"files": 1},
    "at": {"at": -1},
}
CHANGES: tuple[dict[str, Any], ...] = (
    {"$set": {"state": "ingested", "at": 7}},
    {"$set": {"note": "of no index"}},
    {"$set": {"location": {"key": "elsewhere"}}},
    {"$set": {"location": {"key": 1}}},
    {"$set": {"location": {"key": True}}},
    {"$set": {"location": [{"key": "elsewhere"}]}},
    {"$set": {"location": None}},
    {"$unset": {"state": ""}},
    {"$set": {"at": True}},
    {"$set": {"at": 1}},
    {"$set": {"at": 1.0}},
    {"$set": {"files": ["a", "b", "a"]}},
    {"$push": {"files": "c"}},
    {"$set": {"files": []}},
    {"$unset": {"files": ""}},
)


@pytest.fixture
def storages(tmp_path: Path) -> Iterator[tuple[Storage, LeanStorage]]:
    """SecantusDB's own storage, and ours."""
    own, ours = (
        make(str(tmp_path / name), enable_oplog=False)
        for name, make in (("own", Storage), ("ours", LeanStorage))
    )
    yield own, ours
    own.close()
    ours.close()


@pytest.fixture
def ours(storages: tuple[Storage, LeanStorage]) -> LeanStorage:
    return storages[1]


def tables(storage: Storage) -> list[Any]:
    """Return the documents, the definitions of the indexes, and their entries."""
    reading = storage.command() if isinstance(storage, LeanStorage) else nullcontext()
    with reading:
        return [
            storage.find_matching(*PLACE, {}, sort={"_id": 1}),
            *(storage._collect_prefix(table, PLACE) for table in (_IDX_TABLE, _IDX_ENTRIES_TABLE)),
        ]


def perform(storage: Storage, operation: str, *arguments: Any, **options: Any) -> Any:
    """Perform an operation as one command."""
    with storage.command() if isinstance(storage, LeanStorage) else nullcontext():
        return getattr(storage, operation)(*PLACE, *arguments, **options)


def some_operation(chance: random.Random) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return the name and the arguments of an operation on a collection."""
    one, change = {"_id": chance.randrange(6)}, chance.choice(CHANGES)
    name = chance.choice(tuple(INDEXES))
    match chance.randrange(12):
        case 0:
            return "delete_matching", (one,), {}
        case 1:
            return "create_index", (name, INDEXES[name]), {}
        case 2:
            return "drop_index", (name,), {}
        case 3:
            return "update_matching", ({"at": {"$gte": 0}}, change), {"multi": True}
        case 4:
            return "update_matching", (one, {"state": "replaced", "at": 3}), {"upsert": True}
        case _:
            return "update_matching", (one, change), {"upsert": chance.random() < 0.5}


@pytest.mark.parametrize("seed", range(4))
def test_the_tables_hold_the_same_after_any_operations(
    storages: tuple[Storage, LeanStorage], seed: int
) -> None:
    chance = random.Random(seed)
    for name, keys in INDEXES.items():
        for storage in storages:
            perform(storage, "create_index", name, keys)
    for _ in range(60):
        operation, arguments, options = some_operation(chance)
        replies = [perform(storage, operation, *arguments, **options) for storage in storages]
        assert replies[0] == replies[1], (operation, arguments, options)
        own, ours = (tables(storage) for storage in storages)
        assert ours == own, (operation, arguments, options)


def test_an_index_that_is_made_during_another_command_has_that_commands_documents(ours: LeanStorage) -> None:
    perform(ours, "insert", [{"_id": 0, "state": "old"}])

    def write() -> None:
        perform(ours, "update_matching", {"_id": 0}, {"$set": {"state": "new"}})

    with ours.command():
        ours.create_index(*PLACE, "state", INDEXES["state"])
        writer = Thread(target=write)
        writer.start()
        writer.join()

    assert [found["_id"] for found in perform(ours, "find_matching", {"state": "new"})] == [0]
    assert perform(ours, "find_matching", {"state": "old"}) == []


def test_a_command_that_began_before_an_index_was_made_does_not_keep_the_earlier_definitions(
    ours: LeanStorage,
) -> None:
    perform(ours, "insert", [{"_id": 0, "state": "old"}])

    def create() -> None:
        perform(ours, "create_index", "state", INDEXES["state"])

    with ours.command():
        ours.find_matching(*PLACE, {"_id": 0})
        creator = Thread(target=create)
        creator.start()
        creator.join()
        ours._iter_indexes(*PLACE)
    perform(ours, "update_matching", {"_id": 0}, {"$set": {"state": "new"}})

    assert [found["_id"] for found in perform(ours, "find_matching", {"state": "new"})] == [0]


def test_an_update_reads_no_definitions_that_are_known(
    ours: LeanStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform(ours, "create_index", "state", INDEXES["state"])
    perform(ours, "update_matching", {"_id": 0}, {"$set": {"state": "a"}}, upsert=True)
    monkeypatch.setattr(ours, "_read_definitions", lambda *_: pytest.fail("read from the tables"))

    perform(ours, "update_matching", {"_id": 0}, {"$set": {"state": "b"}})

    assert [found["_id"] for found in perform(ours, "find_matching", {"state": "b"})] == [0]


def test_no_statement_waits_for_the_disk_while_it_holds_the_lock_of_its_collection(
    ours: LeanStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[bool] = []
    commit = own_storage._commit_batch_transaction

    def noting(session: Any, sync: bool) -> None:
        waited.append(sync)
        commit(session, sync)

    monkeypatch.setattr(own_storage, "_commit_batch_transaction", noting)
    perform(ours, "insert", [{"_id": 0}], journal=True)
    perform(ours, "update_matching", {"_id": 0}, {"$set": {"state": "new"}}, journal=True)
    perform(ours, "delete_matching", {"_id": 0}, journal=True)

    assert waited == [False, False, False]


@pytest.mark.parametrize("direction", [1, -1])
def test_codes_that_are_kept_are_those_of_secantusdb(direction: int) -> None:
    values = [1, True, 1.0, 0, False, -0.0, None, "1", "", "x" * 1000, 2**53, -(2**63), [1, "1"], {"a": 1}]
    codes = Codes()
    for value in (*values, *values):
        assert codes(value, direction) == encode_value_directed(value, direction), value
