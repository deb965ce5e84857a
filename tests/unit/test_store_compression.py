"""Answers of a server that compresses what a request allows it to compress, as MinIO does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shotwatch_common.store import ObjectStore
from shotwatch_shots.errors import Retry

MODIFIED = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
KEYS = [f"minute-{n:04d}.h5" for n in range(100)]
CONTENT = b"compressible " * 1000


def _listing() -> str:
    objects = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{MODIFIED:%Y-%m-%dT%H:%M:%SZ}</LastModified>"
        f'<ETag>"{n}"</ETag><Size>{n}</Size></Contents>'
        for n, key in enumerate(KEYS)
    )
    return (
        f"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
    )


def _compressed(response: web.Response) -> web.Response:
    """Let aiohttp choose a compression that the request's Accept-Encoding allows, if it allows any."""
    response.enable_compression()
    return response


async def _list(request: web.Request) -> web.Response:
    if request.match_info["bucket"] == "refused":
        error = f"<Error><Code>SlowDown</Code><Message>{'wait ' * 200}</Message></Error>"
        return _compressed(web.Response(status=400, text=error, content_type="application/xml"))
    return _compressed(web.Response(text=_listing(), content_type="application/xml"))


async def _get(request: web.Request) -> web.Response:
    headers = {"ETag": '"the-etag"', "Last-Modified": format_datetime(MODIFIED, usegmt=True)}
    return _compressed(web.Response(body=CONTENT, headers=headers))


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    application = web.Application()
    application.router.add_get("/{bucket}", _list)
    application.router.add_get("/{bucket}/", _list)
    application.router.add_get("/{bucket}/{key}", _get)
    async with (
        TestServer(application, host="127.0.0.1") as server,
        ObjectStore.at(f"http://127.0.0.1:{server.port}", "access", "secret") as opened,
    ):
        yield opened


async def test_a_listing_is_read(store: ObjectStore) -> None:
    found = [(each.key, each.size) async for each in store.list("bucket")]
    assert found == [(key, n) for n, key in enumerate(KEYS)]


async def test_an_object_comes_as_it_is_stored(store: ObjectStore) -> None:
    assert await store.get("bucket", "key", len(CONTENT)) == CONTENT
    assert b"".join([piece async for piece in store.pieces("bucket", "key", 1000)]) == CONTENT


async def test_an_error_is_reported_in_the_words_of_the_store(store: ObjectStore) -> None:
    with pytest.raises(Retry, match="SlowDown"):
        assert [each async for each in store.list("refused")] == []
