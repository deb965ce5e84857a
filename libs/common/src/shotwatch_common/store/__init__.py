"""The object store. This package is the only one that knows the S3 client."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pyarrow as pa
from aiohttp import ClientResponse, StreamReader
from miniopy_async.commonconfig import CopySource

from shotwatch_common.block_cache import BlockCache
from shotwatch_common.settings import Settings
from shotwatch_common.store.client import PIECE_BYTES, Client
from shotwatch_common.store.errors import (
    AWAY,
    REFUSED,
    UNKNOWN_KEYS,
    BucketMissing,
    ObjectGone,
    ObjectTooLarge,
    code_of,
    translated,
)
from shotwatch_common.store.objects import ObjectVersion, StoredObject

__all__ = ["BucketMissing", "ObjectGone", "ObjectStore", "ObjectTooLarge", "ObjectVersion", "StoredObject"]

_ANSWER_S = 5.0
NO_OBJECT = "no-such-object"
"""Key for the readiness check.

A store explains why it refuses an object, but not why it refuses a bucket: its response about a bucket alone
has no body.
"""


class ObjectStore:
    """Objects of an S3 server.

    Every method raises Retry if the server cannot be reached or cannot serve the request (its disk is full, a
    bucket is missing), and ObjectGone if the object does not exist.
    """

    def __init__(self, client: Client, block_cache: BlockCache | None = None) -> None:
        self._client = client
        self.block_cache = block_cache
        """Recent blocks on this machine, for `fetching`."""

    @classmethod
    def at(cls, url: str, access_key: str, secret_key: str, block_cache: BlockCache | None = None) -> Self:
        """Return the store at this URL."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        client = Client(parts.netloc, access_key, secret_key, secure)
        return cls(client, block_cache)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls.at(
            settings.store_url,
            settings.store_access_key.get_secret_value(),
            settings.store_secret_key.get_secret_value(),
            BlockCache.of(settings),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._client.close_session()  # type: ignore[no-untyped-call]
        if self.block_cache is not None:
            self.block_cache.close()

    async def get(self, bucket: str, key: str, most: int = sys.maxsize) -> bytes:
        """Return the content of an object.

        Raises:
            ObjectTooLarge: according to the store, it has more than `most` bytes; the content is not read.
        """
        async with self._content(bucket, key, most) as response:
            data: bytes = await response.read()
            return data

    async def fetch(
        self, bucket: str, key: str, take: Callable[[bytes], None], most: int = sys.maxsize
    ) -> ObjectVersion:
        """Pass the content of one version of an object to `take`, piece by piece, and return which one it is.

        Raises the same errors as `get`, before the first piece or after some.
        """
        async with self._content(bucket, key, most) as response:
            while piece := await response.content.read(PIECE_BYTES):
                take(piece)
            etag = response.headers.get("ETag", "").strip('"')
            return ObjectVersion(etag, _http_date_ms(response.headers.get("Last-Modified", "")))

    async def put(self, bucket: str, key: str, data: bytes | pa.Buffer, content_type: str = "") -> None:
        """Write a complete object in one request, replacing any previous one.

        The answer's etag is not used: the embedded store reports another one in listings (`etag`).
        """
        kind = content_type or "application/octet-stream"
        async with translated(bucket, key):
            await self._client.put_whole(bucket, key, data, kind)

    async def move(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """Copy an object, then remove the source.

        Repeating the call, also after a crash half-way, leads to the same state.
        """
        try:
            async with translated(*source):
                await self._client.copy_object(*target, CopySource(*source))
        except ObjectGone:
            if await self.etag(*target) is None:
                raise
        await self.remove(*source)

    async def copy_version(self, source: tuple[str, str], target: tuple[str, str], version: str) -> bool:
        """Copy a version (an etag) of an object; return whether the target now holds this version.

        Not every store compares etags when it copies. So the source is asked before and after: if it then
        holds another version, or none, the target may hold that one.
        """
        if await self.etag(*source) != version:
            return False
        with suppress(ObjectGone):
            async with translated(*source):
                await self._client.copy_object(*target, CopySource(*source))
        return await self.etag(*source) == version

    async def remove_version(self, bucket: str, key: str, version: str) -> None:
        """Remove an object, unless another version (an etag) has been stored under its key meanwhile.

        S3 has no conditional removal: a version that arrives between the check and the removal is lost.
        """
        if await self.etag(bucket, key) == version:
            await self.remove(bucket, key)

    async def remove(self, bucket: str, key: str) -> None:
        """Remove an object; do nothing if it does not exist."""
        try:
            async with translated(bucket, key):
                await self._client.remove_object(bucket, key)
        except ObjectGone:
            return

    async def etag(self, bucket: str, key: str) -> str | None:
        """Return the etag of an object; None if it does not exist."""
        try:
            async with translated(bucket, key):
                found = await self._client.stat_object(bucket, key)
        except ObjectGone:
            return None
        return (found.etag or "").strip('"')

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Yield all objects of a bucket under a prefix, sorted by key."""
        async with translated(bucket, prefix):
            async for found in self._objects(bucket, prefix):
                yield found

    async def page(self, bucket: str, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return up to `limit` objects under a prefix with keys after `after`, sorted by key."""
        found: list[StoredObject] = []
        async with translated(bucket, prefix):
            async for each in self._objects(bucket, prefix, after):
                found.append(each)
                if len(found) == limit:
                    break
        return found

    async def top(self, bucket: str, limit: int) -> Sequence[str]:
        """Return up to `limit` folders (`2022-07-01/`) and keys at the top level of a bucket."""
        names: list[str] = []
        async for name in self.names(bucket, ""):
            names.append(name)
            if len(names) == limit:
                break
        return names

    async def names(self, bucket: str, prefix: str) -> AsyncIterator[str]:
        """Yield what is directly below a prefix (`2022-07-01/`): objects, and folders (`ID/`); sorted."""
        async with translated(bucket, prefix):
            async for each in self._client.list_objects(bucket, prefix=prefix):
                yield str(each.object_name).removeprefix(prefix)

    async def folders(self, bucket: str, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the folders directly below a prefix (`2022-07-01/`), sorted."""
        async for name in self.names(bucket, prefix):
            if name.endswith("/"):
                yield name.removesuffix("/")

    async def ends(self, bucket: str, key: str, length: int) -> tuple[bytes, bytes, int]:
        """Return the first and the last `length` bytes of an object, and its size in bytes.

        An object that is no longer than `length` is read once; its last part is then empty.
        """
        async with translated(bucket, key):
            head, size = await self._range(bucket, key, 0, length)
            if size <= length:
                return head, b"", size
            tail, _ = await self._range(bucket, key, max(size - length, length), length)
            return head, tail, size

    async def part(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """Return up to `length` bytes of an object from `offset` on; fewer if the object ends before."""
        async with translated(bucket, key):
            data, _ = await self._range(bucket, key, offset, length)
        return data

    async def pieces(self, bucket: str, key: str, length: int) -> AsyncGenerator[bytes, None]:
        """Yield an object in pieces of `length` bytes (the last may be shorter), with one piece in memory."""
        async with translated(bucket, key):
            response = await self._client.get_object(bucket, key)
            async with response:
                while piece := await _read_up_to(response.content, length):
                    yield piece

    async def _objects(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[StoredObject]:
        """Yield the objects under a prefix with keys after `after`, sorted by key.

        Every complete object has an etag. An entry without one cannot be read, and is left out. rclone (the
        embedded stack's store) lists such an entry while an object is being written. After several clients
        wrote a key at the same time, it also lists one for up to five minutes, beside the object or after its
        removal.
        """
        listing = self._client.list_objects(
            bucket, prefix=prefix or None, recursive=True, start_after=after or None
        )
        async for each in listing:
            if not each.is_dir and each.etag and each.last_modified:
                modified_ms = round(each.last_modified.timestamp() * 1000)
                yield StoredObject(str(each.object_name), each.etag.strip('"'), each.size or 0, modified_ms)

    @asynccontextmanager
    async def _content(self, bucket: str, key: str, most: int) -> AsyncIterator[ClientResponse]:
        """Open an object for reading. Raises the errors of `get`, also for what its body does."""
        async with translated(bucket, key), await self._client.get_object(bucket, key) as response:
            size = response.content_length
            if size is None or size > most:
                raise ObjectTooLarge(
                    f"{key}: has {size or 'an unknown number of'} bytes, {most} at most are read"
                )
            yield response

    async def _range(self, bucket: str, key: str, offset: int, length: int) -> tuple[bytes, int]:
        response = await self._client.get_object(bucket, key, offset=offset, length=length)
        async with response:
            data: bytes = await response.read()
            _, _, size = response.headers.get("Content-Range", "").rpartition("/")
            return data, int(size) if size.isdecimal() else len(data)

    async def ensure_buckets(self, *buckets: str) -> None:
        """Create the buckets that do not exist."""
        for bucket in buckets:
            if not await self.has_bucket(bucket):
                async with translated(bucket, ""):
                    await self._client.make_bucket(bucket)

    async def ready(self, bucket: str) -> bool:
        """Return whether the server answers within 5 s and accepts our keys.

        The server may refuse access to the bucket, or report that it does not exist.
        """
        try:
            async with asyncio.timeout(_ANSWER_S), await self._client.get_object(bucket, NO_OBJECT):
                return True
        except AWAY:
            return False
        except REFUSED as error:
            return code_of(error) not in UNKNOWN_KEYS

    async def has_bucket(self, bucket: str) -> bool:
        """Return whether the bucket exists."""
        async with translated(bucket, ""):
            there: bool = await self._client.bucket_exists(bucket)
            return there


async def _read_up_to(stream: StreamReader, length: int) -> bytes:
    try:
        return await stream.readexactly(length)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _http_date_ms(text: str) -> int:
    try:
        return round(parsedate_to_datetime(text).timestamp() * 1000)
    except ValueError:
        return 0
