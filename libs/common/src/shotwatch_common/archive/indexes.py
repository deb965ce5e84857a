"""The indexes that should exist, and those that do."""

from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Protocol, cast

from pymongo.errors import OperationFailure

from shotwatch_common.archive.driver import Collection, Database, Keys


class Indexed(Protocol):
    """A repository of the archive whose queries need indexes."""

    def __init__(self, database: Database) -> None: ...

    async def ensure_indexes(self) -> None: ...


class _IndexRecorder:
    """A collection that only records which indexes it is asked to create."""

    def __init__(self) -> None:
        self.indexes: list[Keys] = []

    async def create_index(self, keys: Keys) -> None:
        self.indexes.append(keys)


async def missing_indexes(
    database: Database, parts: Sequence[type[Indexed]], collections: Container[str] | None = None
) -> list[str]:
    """Return the indexes that the repositories need and that do not exist, for example `shots: pulse`.

    With `collections`, check only these collections.

    Raises:
        Retry: the account may not list the indexes of a collection.
    """
    wanted: dict[str, _IndexRecorder] = defaultdict(_IndexRecorder)
    for part in parts:
        await part(cast(Database, wanted)).ensure_indexes()
    return [
        f"{name}: {', '.join(field for field, _ in keys)}"
        for name, collection in wanted.items()
        if collections is None or name in collections
        for keys in await _lacking(database[name], collection.indexes)
    ]


async def _lacking(collection: Collection, wanted: Sequence[Keys]) -> list[Keys]:
    try:
        found = await collection.index_information()
    except OperationFailure:  # the collection does not exist yet
        found = {}
    there = [[tuple(key) for key in index["key"]] for index in found.values()]
    return [keys for keys in wanted if list(keys) not in there]
