"""The S3 client, with a session of our own, and uploads that neither copy nor hash more than they must."""

import asyncio
import os
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import certifi
import pyarrow as pa
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiohttp_retry import ExponentialRetry, RetryClient
from deflate import crc32
from miniopy_async.api import Minio
from miniopy_async.helpers import check_bucket_name, check_object_name

_SILENCE_S = 300.0
"""Longest time without any byte of an answer."""
PIECE_BYTES = 256 << 10
"""Bytes of a body that are sent or received at a time."""
_UNSIGNED = "UNSIGNED-PAYLOAD"
"""S3's value of `x-amz-content-sha256` for a body that the signature of the request does not cover."""
_SHA256_OF_NOTHING = sha256().hexdigest()


class Body:
    """The body of a request in pieces, none of which is copied. It can be sent again."""

    def __init__(self, content: bytes | pa.Buffer) -> None:
        self.content = memoryview(content)

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for start in range(0, len(self.content), PIECE_BYTES):
            yield self.content[start : start + PIECE_BYTES]


class Client(Minio):
    """The S3 client. It returns objects as they are stored.

    By default, aiohttp decompresses what is declared as compressed. Whoever stores an object chooses its
    Content-Encoding, so a small object could fill the memory of its readers. Because nothing is decompressed
    here, each request asks the server to compress nothing: MinIO compresses its listings if it may.
    """

    def __init__(self, address: str, access_key: str, secret_key: str, secure: bool) -> None:
        super().__init__(address, access_key, secret_key, secure=secure, region="us-east-1")
        self._signs_bodies = not secure and not _is_this_machine(address)

    async def put_whole(self, bucket: str, key: str, content: bytes | pa.Buffer, content_type: str) -> None:
        """Write an object in one request.

        The server verifies the body by its SHA-256, which the request's signature covers, if others may
        change what the network carries. Over TLS and on this machine nobody can, and the CRC-32 finds errors,
        as it does in Amazon's clients. It takes a thirtieth of the time.
        """
        check_bucket_name(bucket)
        check_object_name(key)
        body: Any = Body(content)
        await self._put_object(bucket, key, body, {"Content-Type": content_type})

    async def _build_headers(
        self, host: str, headers: Any, body: Any, creds: Any
    ) -> tuple[dict[str, str], datetime]:
        if body is not None and not isinstance(body, Body):
            return await super()._build_headers(host, headers, body, creds)
        built, date = await super()._build_headers(host, headers, None, None)
        built["x-amz-content-sha256"] = await self._digest(body)
        if body is not None:
            built["Content-Length"] = str(len(body.content))
            built["x-amz-checksum-crc32"] = b64encode(crc32(body.content).to_bytes(4, "big")).decode()
        return built, date

    async def _digest(self, body: Body | None) -> str:
        """Return what the request's signature covers of its body. Most requests have none."""
        if not self._signs_bodies:
            return _UNSIGNED
        if body is None:
            return _SHA256_OF_NOTHING
        return (await asyncio.to_thread(sha256, body.content)).hexdigest()

    def _ensure_session(self) -> None:
        if self._session is None:
            authorities = os.environ.get("SSL_CERT_FILE") or certifi.where()
            session = ClientSession(
                connector=TCPConnector(limit=10, ssl=ssl.create_default_context(cafile=authorities)),
                timeout=ClientTimeout(connect=_SILENCE_S, sock_read=_SILENCE_S),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
            )
            again = ExponentialRetry(attempts=5, factor=0.2, statuses={500, 502, 503, 504})
            self.set_session(RetryClient(session, retry_options=again))


def _is_this_machine(address: str) -> bool:
    """Return whether `host:port` names the loopback interface by its IP address."""
    try:
        return ip_address(urlsplit(f"//{address}").hostname or "").is_loopback
    except ValueError:
        return False
