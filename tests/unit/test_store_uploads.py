"""Uploads, seen by the server: what it is given to verify them, and that they can be sent again."""

import base64
import hashlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random

import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shotwatch_common.store import ObjectStore

CONTENT = Random(0).randbytes(3_000_001)


@dataclass
class Uploads:
    """A server that refuses the first uploads as busy."""

    refused: int = 0
    seen: list[tuple[web.Request, bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append((request, await request.read()))
        busy = len(self.seen) <= self.refused
        return web.Response(status=503) if busy else web.Response(headers={"ETag": '"the-etag"'})


@pytest.fixture
def uploads() -> Uploads:
    return Uploads()


@pytest.fixture
async def port(uploads: Uploads) -> AsyncIterator[int]:
    application = web.Application(client_max_size=1 << 30)
    application.router.add_put("/bucket/{key}", uploads.take)
    async with TestServer(application, host="127.0.0.1") as server:
        assert server.port is not None
        yield server.port


async def test_an_upload_to_this_machine_is_verified_by_its_crc_32(uploads: Uploads, port: int) -> None:
    async with ObjectStore.at(f"http://127.0.0.1:{port}", "access", "secret") as store:
        await store.put("bucket", "key", pa.py_buffer(CONTENT))
    [(request, body)] = uploads.seen
    assert body == CONTENT
    assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    crc32 = zlib.crc32(CONTENT).to_bytes(4, "big")
    assert base64.b64decode(request.headers["x-amz-checksum-crc32"]) == crc32
    assert "x-amz-checksum-crc32" in request.headers["Authorization"]
    assert request.headers["Content-Length"] == str(len(CONTENT))


async def test_an_upload_over_a_network_without_tls_is_signed_with_its_digest(
    uploads: Uploads, port: int
) -> None:
    """Another machine may answer to a name, so `localhost` is a network, too."""
    async with ObjectStore.at(f"http://localhost:{port}", "access", "secret") as store:
        await store.put("bucket", "key", CONTENT)
    [(request, body)] = uploads.seen
    assert body == CONTENT
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("content", [CONTENT, b"", b"short"], ids=["large", "empty", "short"])
async def test_an_upload_that_a_busy_server_refused_is_sent_again_whole(
    uploads: Uploads, port: int, content: bytes
) -> None:
    uploads.refused = 1
    async with ObjectStore.at(f"http://127.0.0.1:{port}", "access", "secret") as store:
        await store.put("bucket", "key", content)
    assert [body for _, body in uploads.seen] == [content, content]
