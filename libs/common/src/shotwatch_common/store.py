"""The object store: the one place that knows the S3 client."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import pyarrow as pa
from miniopy_async.api import Minio
from miniopy_async.commonconfig import CopySource
from miniopy_async.error import InvalidResponseError, S3Error, ServerError

from shotwatch_common.errors import Retry
from shotwatch_common.settings import Settings

_ABSENT = {"NoSuchKey", "NoSuchBucket", "NoSuchObject", "NoSuchVersion"}


class ObjectGone(LookupError):
    """There is no such object (any more)."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing shows it."""

    key: str
    etag: str
    size: int
    modified_ms: int


class ObjectStore:
    """Objects of an S3 server.

    Every method raises Retry when the server cannot be reached or refuses for its own reasons, and
    ObjectGone when the object does not exist.
    """

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        parts = urlsplit(url)
        self._client = Minio(
            parts.netloc, access_key, secret_key, secure=parts.scheme == "https", region="us-east-1"
        )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            settings.store_url,
            settings.store_access_key.get_secret_value(),
            settings.store_secret_key.get_secret_value(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._client.close_session()  # type: ignore[no-untyped-call]

    async def get(self, bucket: str, key: str) -> bytes:
        """The whole object."""
        async with _translated(bucket, key):
            response = await self._client.get_object(bucket, key)
            async with response:
                data: bytes = await response.read()
                return data

    async def put(self, bucket: str, key: str, data: bytes | pa.Buffer, content_type: str = "") -> None:
        """Write an object whole, replacing what was there."""
        body = io.BytesIO(data) if isinstance(data, bytes) else pa.BufferReader(data)
        async with _translated(bucket, key):
            await self._client.put_object(
                bucket, key, body, len(data), content_type or "application/octet-stream"
            )

    async def move(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """Copy, then remove the source. Run twice, or after it died half-way, it ends in the same state."""
        try:
            async with _translated(*source):
                await self._client.copy_object(*target, CopySource(*source))
        except ObjectGone:
            if await self.etag(*target) is None:
                raise
        await self.remove(*source)

    async def remove(self, bucket: str, key: str) -> None:
        """Remove an object; nothing happens when it is gone already."""
        try:
            async with _translated(bucket, key):
                await self._client.remove_object(bucket, key)
        except ObjectGone:
            return

    async def etag(self, bucket: str, key: str) -> str | None:
        """The etag of an object; None when there is no such object."""
        try:
            async with _translated(bucket, key):
                found = await self._client.stat_object(bucket, key)
        except ObjectGone:
            return None
        return (found.etag or "").strip('"')

    async def list(self, bucket: str, prefix: str = "") -> AsyncIterator[StoredObject]:
        """All objects of a bucket under a prefix, in the order of their keys."""
        async with _translated(bucket, prefix):
            async for found in self._client.list_objects(bucket, prefix=prefix or None, recursive=True):
                if not found.is_dir:
                    yield _stored(found)

    async def ensure_buckets(self, *buckets: str) -> None:
        """Make the buckets that do not exist."""
        for bucket in buckets:
            async with _translated(bucket, ""):
                if not await self._client.bucket_exists(bucket):
                    await self._client.make_bucket(bucket)


def _stored(found: Any) -> StoredObject:
    modified_ms = round(found.last_modified.timestamp() * 1000)
    return StoredObject(found.object_name, (found.etag or "").strip('"'), found.size or 0, modified_ms)


@asynccontextmanager
async def _translated(bucket: str, key: str) -> AsyncIterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in _ABSENT:
            raise ObjectGone(f"{bucket}/{key} does not exist") from error
        raise Retry(f"{bucket}/{key}: the object store says {error.code}") from error
    except InvalidResponseError as error:  # an error in a content type that the client does not read
        if error._code == HTTPStatus.NOT_FOUND:
            raise ObjectGone(f"{bucket}/{key} does not exist") from error
        raise Retry(f"{bucket}/{key}: the object store says {error}") from error
    except (TimeoutError, ServerError, aiohttp.ClientError, OSError) as error:
        raise Retry(f"{bucket}/{key}: the object store cannot be reached: {error}") from error
