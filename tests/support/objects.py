"""An S3 server in memory: what the object store asks of its client, answered from dicts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import md5
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import pyarrow as pa
from miniopy_async.commonconfig import CopySource
from miniopy_async.error import S3Error

from shotwatch_common import clock

from .effects import Effects


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """An object as the server has it."""

    data: bytes
    modified_ms: int
    """Epoch ms."""

    @property
    def etag(self) -> str:
        return f'"{md5(self.data, usedforsecurity=False).hexdigest()}"'

    @property
    def modified(self) -> datetime:
        return datetime.fromtimestamp(self.modified_ms / 1000, UTC)


class Response:
    """The answer to a request for an object, or for a part of it."""

    def __init__(self, stored: StoredBytes, start: int, data: bytes) -> None:
        self.content_length = len(data)
        self.headers = {
            "ETag": stored.etag,
            "Last-Modified": format_datetime(stored.modified, usegmt=True),
            "Content-Range": f"bytes {start}-{start + len(data) - 1}/{len(stored.data)}",
        }
        self.content = asyncio.StreamReader()
        self.content.feed_data(data)
        self.content.feed_eof()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None: ...

    async def read(self) -> bytes:
        return await self.content.read()


@dataclass
class StoreClient:
    """A client of S3; `buckets` are by their names, objects by their keys. `ObjectStore` takes it in place of
    the real one."""

    effects: Effects = field(default_factory=Effects)
    buckets: dict[str, dict[str, StoredBytes]] = field(default_factory=dict)

    async def get_object(self, bucket: str, key: str, offset: int = 0, length: int = 0) -> Response:
        stored = self._found(bucket, key)
        return Response(stored, offset, stored.data[offset : offset + length if length else None])

    async def stat_object(self, bucket: str, key: str) -> SimpleNamespace:
        return SimpleNamespace(etag=self._found(bucket, key).etag)

    async def put_whole(self, bucket: str, key: str, content: bytes | pa.Buffer, _kind: str) -> None:
        self._write("put", bucket, key, StoredBytes(bytes(content), clock.epoch_now()))

    async def copy_object(self, bucket: str, key: str, source: CopySource) -> None:
        found = self._found(source.bucket_name, source.object_name)
        self._write("copy to", bucket, key, StoredBytes(found.data, clock.epoch_now()))

    async def remove_object(self, bucket: str, key: str) -> None:
        objects = self._bucket(bucket, key)
        self.effects.perform(f"remove {bucket}/{key}", lambda: objects.pop(key, None), _closed)

    async def list_objects(
        self, bucket: str, prefix: str | None = None, recursive: bool = False, start_after: str | None = None
    ) -> AsyncIterator[SimpleNamespace]:
        prefix, last = prefix or "", ""
        for key, stored in sorted(self._bucket(bucket, "").items()):
            if not key.startswith(prefix) or key <= (start_after or ""):
                continue
            folder, below, _ = key.removeprefix(prefix).partition("/")
            name = key if recursive or not below else f"{prefix}{folder}/"
            if name != last:
                last = name
                yield SimpleNamespace(
                    object_name=name,
                    is_dir=name.endswith("/"),
                    etag=stored.etag,
                    size=len(stored.data),
                    last_modified=stored.modified,
                )

    async def make_bucket(self, bucket: str) -> None:
        self.buckets[bucket] = {}

    async def bucket_exists(self, bucket: str) -> bool:
        return bucket in self.buckets

    async def close_session(self) -> None: ...

    def _write(self, what: str, bucket: str, key: str, stored: StoredBytes) -> None:
        objects = self._bucket(bucket, key)
        self.effects.perform(f"{what} {bucket}/{key}", lambda: objects.update({key: stored}), _closed)

    def _found(self, bucket: str, key: str) -> StoredBytes:
        try:
            return self._bucket(bucket, key)[key]
        except KeyError:
            raise _refusal("NoSuchKey", bucket, key) from None

    def _bucket(self, bucket: str, key: str) -> dict[str, StoredBytes]:
        if bucket not in self.buckets:
            raise _refusal("NoSuchBucket", bucket, key)
        return self.buckets[bucket]


def _closed() -> Exception:
    return aiohttp.ClientConnectionError("connection closed")


def _refusal(code: str, bucket: str, key: str) -> S3Error:
    nowhere: Any = None
    return S3Error(code, code, f"/{bucket}/{key}", "", "", nowhere, bucket, key)
