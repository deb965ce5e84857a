"""Training sets in the object store: `{name}/part-00000-of-00004.tfrecord` … and `{name}/manifest.json`."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from shotwatch_common.store import BucketMissing, ObjectGone, ObjectStore
from shotwatch_training.domain.manifest import DatasetManifest, Shard

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_MANIFEST = "manifest.json"
_AT_ONCE = 8

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class DatasetError(ValueError):
    """A set cannot be made or found; the message gives the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class DatasetStore:
    """The training sets in a bucket. A set exists once its manifest is there."""

    objects: ObjectStore
    bucket: str

    async def reserve(self, name: str) -> None:
        """Reserve the name of a new set, and remove what an interrupted run left under it.

        Raises:
            DatasetError: the name cannot be used.
        """
        if not _NAME.fullmatch(name):
            raise DatasetError(f"{name!r} is not a valid name: use small letters, digits and . _ -")
        await self.objects.ensure_buckets(self.bucket)
        if await self.objects.etag(self.bucket, f"{name}/{_MANIFEST}") is not None:
            raise DatasetError(
                f"there is a set {name} already and sets do not change: take another name, or remove all of "
                f"{self.bucket}/{name}/ from the object store, the manifest first"
            )
        for left in [found.key async for found in self.objects.list(self.bucket, f"{name}/")]:
            await self.objects.remove(self.bucket, left)

    async def put_shard(self, key: str, path: Path, examples: int) -> Shard:
        """Upload the file of a shard."""
        with pa.memory_map(str(path)) as file:
            data = file.read_buffer()
            await self.objects.put(self.bucket, key, data)
        return Shard(key=key, examples=examples, size=data.size, sha256=sha256(data).hexdigest())

    async def get_shard(self, shard: Shard) -> bytes:
        """Return the bytes of a shard.

        Raises:
            DatasetError: the shard no longer exists, or does not match the manifest.
        """
        try:
            data = await self.objects.get(self.bucket, shard.key)
        except ObjectGone as error:
            raise DatasetError(f"the shard {shard.key} is gone") from error
        if sha256(data).hexdigest() != shard.sha256:
            raise DatasetError(f"the shard {shard.key} is not as the manifest describes it")
        return data

    async def publish(self, manifest: DatasetManifest) -> None:
        """Write the manifest, which makes the set exist."""
        data = manifest.model_dump_json().encode()
        await self.objects.put(self.bucket, f"{manifest.name}/{_MANIFEST}", data, "application/json")

    async def names(self) -> list[str]:
        """Return the names of the existing sets."""
        try:
            keys = [found.key async for found in self.objects.list(self.bucket)]
        except BucketMissing:
            return []
        return [key.removesuffix(f"/{_MANIFEST}") for key in keys if key.endswith(f"/{_MANIFEST}")]

    async def find(self, name: str) -> DatasetManifest:
        """Return the manifest of a set.

        Raises:
            DatasetError: there is no such set; the message lists the existing ones.
        """
        try:
            data = await self.objects.get(self.bucket, f"{name}/{_MANIFEST}")
        except (ObjectGone, BucketMissing) as error:
            known = ", ".join(await self.names()) or "none"
            raise DatasetError(f"there is no set {name}; there are: {known}") from error
        return DatasetManifest.model_validate_json(data)


def shard_key(name: str, number: int, count: int) -> str:
    """Return a key such as `name/part-00000-of-00004.tfrecord`."""
    return f"{name}/part-{number:05d}-of-{count:05d}.tfrecord"


async def ask_all(
    questions: Iterable[Asked], ask: Callable[[Asked], Awaitable[Answer]]
) -> dict[Asked, Answer]:
    """Return the answer to each question; at most _AT_ONCE are asked at the same time."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def answer(question: Asked) -> tuple[Asked, Answer]:
        async with free:
            return question, await ask(question)

    return dict(await asyncio.gather(*map(answer, questions)))
