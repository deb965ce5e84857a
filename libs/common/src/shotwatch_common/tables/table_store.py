"""The day tables in the object store: manifests and files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pyarrow as pa

from shotwatch_common.store import ObjectGone, ObjectStore
from shotwatch_shots.errors import Retry
from shotwatch_shots.place import Place
from shotwatch_tables.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    DayManifest,
    TableFile,
    day_folder,
    day_of,
    place_folder,
    place_of,
)
from shotwatch_tables.parquet import read_table

Parsed = TypeVar("Parsed", Place, int)
_MANIFEST_S = 20.0
"""Time limit for writing a manifest, in seconds: shorter than the writer's lease."""


class TableStore:
    """The table bucket. Every method raises Retry if the store does not answer."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket

    async def manifest(self, place: Place, day: int) -> DayManifest:
        """Return the manifest of a day (epoch ms at which it begins); without files if there is none.

        Raises:
            ValueError: the object is not a manifest.
        """
        empty = DayManifest(place=place, day=day)
        try:
            data = await self._store.get(self._bucket, empty.key, MAX_MANIFEST_BYTES)
        except ObjectGone:
            return empty
        return DayManifest.parse(data, empty.key)

    async def read(self, file: TableFile) -> pa.Table:
        """Return the shots of an hour.

        Raises:
            ObjectGone: the file was replaced more than GRACE_MS ago: read the manifest again.
            ValueError: the object is not a shot table.
        """
        data = await self._store.get(self._bucket, file.key, file.size)
        return await asyncio.to_thread(read_table, data, file.key)

    async def part(self, file: TableFile, offset: int, length: int) -> bytes:
        """Return `length` bytes of a file from `offset` on. Raises ObjectGone as `read` does."""
        return await self._store.part(self._bucket, file.key, offset, length)

    async def put_file(self, key: str, content: pa.Buffer) -> None:
        await self._store.put(self._bucket, key, content, "application/vnd.apache.parquet")

    async def put_manifest(self, manifest: DayManifest) -> None:
        """Write a manifest: from now on, readers see its files.

        Raises:
            Retry: the store did not answer within 20 s.
        """
        data = manifest.model_dump_json(indent=1).encode()
        try:
            async with asyncio.timeout(_MANIFEST_S):
                await self._store.put(self._bucket, manifest.key, data, "application/json")
        except TimeoutError as error:
            raise Retry(f"{manifest.key}: not written within {_MANIFEST_S:.0f} s") from error

    async def days(self) -> AsyncIterator[tuple[Place, int]]:
        """Yield place and day (epoch ms) of each folder; other folders of the bucket are left out."""
        async for name in self._store.folders(self._bucket, ""):
            place = _or_none(place_of, name)
            if place is None:
                continue
            async for day in self._store.folders(self._bucket, place_folder(place)):
                begins = _or_none(day_of, day)
                if begins is not None:
                    yield place, begins

    async def remove(self, key: str) -> None:
        """Remove a file; do nothing if it does not exist."""
        await self._store.remove(self._bucket, key)

    async def written_at(self, place: Place, day: int) -> int | None:
        """Return when the manifest of a day was written (epoch ms); None if there is none."""
        key = f"{day_folder(place, day)}{MANIFEST}"
        return next(
            iter([each.modified_ms async for each in self._store.list(self._bucket, key) if each.key == key]),
            None,
        )

    async def remove_manifest(self, place: Place, day: int) -> None:
        """Remove the manifest of a day: from now on, readers see no files."""
        await self._store.remove(self._bucket, f"{day_folder(place, day)}{MANIFEST}")


def _or_none(parse: Callable[[str], Parsed], name: str) -> Parsed | None:
    try:
        return parse(name)
    except ValueError:
        return None
