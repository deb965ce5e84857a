"""What the services rely on in an object store, of the servers and of the double in memory alike."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import pytest

from shotwatch_common.clock import epoch_now
from shotwatch_common.store import BucketMissing, ObjectGone, ObjectStore, ObjectTooLarge

MORE_THAN_A_PAGE = 1005
BIG = 40 << 20
UNUSUAL_KEYS = (
    "a b",
    "a+b",
    "a%20b",
    "a%2Bb",
    "100 %",
    "x=y&z?w#q",
    "(1)'!*~",
    "dot.",
    "é/ü.h5",
    "日本/カメラ.h5",
    "deep/er/and/deeper",
)
"""Keys that a control system might think of."""
_numbers = count()


async def keys(store: ObjectStore, bucket: str, prefix: str = "") -> list[str]:
    return [found.key async for found in store.list(bucket, prefix)]


Act = Callable[[ObjectStore, str], Awaitable[Any]]
ACTS: dict[str, Act] = {
    "get": lambda store, bucket: store.get(bucket, "key"),
    "put": lambda store, bucket: store.put(bucket, "key", b"content"),
    "remove": lambda store, bucket: store.remove(bucket, "key"),
    "list": keys,
}
EVERY_ACT = [pytest.param(act, id=name) for name, act in ACTS.items()]


async def new_bucket(store: ObjectStore) -> str:
    name = f"bucket-{next(_numbers)}"
    await store.ensure_buckets(name)
    return name


class StoreContract:
    """The tests. A subclass's module has the fixtures `store` and `bucket`."""

    async def test_an_object_is_read_as_it_was_written_last(self, store: ObjectStore, bucket: str) -> None:
        for content in (b"first and longer", b"second", b""):
            await store.put(bucket, "key", content)
            assert await store.get(bucket, "key") == content
        assert await keys(store, bucket) == ["key"]

    @pytest.mark.parametrize("size", [0, 1, 1000, 1001, 250_000])
    async def test_an_object_is_read_in_pieces(self, store: ObjectStore, bucket: str, size: int) -> None:
        content = os.urandom(size)
        await store.put(bucket, "key", content)
        pieces = [piece async for piece in store.pieces(bucket, "key", 1000)]
        assert b"".join(pieces) == content
        assert {len(piece) for piece in pieces[:-1]} <= {1000}
        with pytest.raises(ObjectGone):
            await anext(store.pieces(bucket, "none", 1000))

    async def test_an_object_larger_than_the_caller_takes_is_not_fetched(
        self, store: ObjectStore, bucket: str
    ) -> None:
        await store.put(bucket, "key", bytes(BIG))
        with pytest.raises(ObjectTooLarge, match=f"{BIG} bytes"):
            await store.get(bucket, "key", BIG - 1)
        assert await store.get(bucket, "key", BIG) == bytes(BIG)

    @pytest.mark.parametrize("size", [0, 1, 3_000_001])
    async def test_an_object_is_passed_on_in_pieces_with_its_version(
        self, store: ObjectStore, bucket: str, size: int
    ) -> None:
        content, pieces = os.urandom(size), list[bytes]()
        await store.put(bucket, "key", content)
        etag = await store.etag(bucket, "key")
        before = epoch_now() - 60_000
        assert (await store.fetch(bucket, "key", pieces.append, size)).etag == etag
        assert b"".join(pieces) == content
        version = await store.fetch(bucket, "key", pieces.append)
        assert before < version.modified_ms < before + 120_000
        if size:
            pieces.clear()
            with pytest.raises(ObjectTooLarge, match=f"{size} bytes"):
                await store.fetch(bucket, "key", pieces.append, size - 1)
            assert pieces == []
        with pytest.raises(ObjectGone):
            await store.fetch(bucket, "none", pieces.append)

    async def test_unusual_keys_are_kept_as_they_are(self, store: ObjectStore, bucket: str) -> None:
        for key in UNUSUAL_KEYS:
            await store.put(bucket, key, key.encode())
        assert set(await keys(store, bucket)) == set(UNUSUAL_KEYS)
        for key in UNUSUAL_KEYS:
            await store.move((bucket, key), (bucket, f"moved/{key}"))
            assert await store.get(bucket, f"moved/{key}") == key.encode()
        for key in await keys(store, bucket):
            await store.remove(bucket, key)
        assert await keys(store, bucket) == []

    async def test_a_listing_has_every_object_under_the_prefix_in_the_order_of_keys(
        self, store: ObjectStore, bucket: str
    ) -> None:
        there = [f"many/{n:05d}" for n in range(MORE_THAN_A_PAGE)]
        await asyncio.gather(*(store.put(bucket, key, b"") for key in (*there, "manyfold", "other/00000")))
        assert await keys(store, bucket, "many/") == there
        assert await keys(store, bucket) == sorted([*there, "manyfold", "other/00000"])

    async def test_the_etag_names_the_content_alone_and_is_the_same_wherever_it_is_reported(
        self, store: ObjectStore, bucket: str
    ) -> None:
        for key, content in (("a", b"one"), ("b", b"one"), ("c", b"other")):
            await store.put(bucket, key, content)
        listed = {found.key: found.etag async for found in store.list(bucket)}
        assert listed == {key: await store.etag(bucket, key) for key in ("a", "b", "c")}
        assert listed["a"] == listed["b"] != listed["c"]

    async def test_a_listing_reports_when_an_object_came_and_how_big_it_is(
        self, store: ObjectStore, bucket: str
    ) -> None:
        before = epoch_now()
        await store.put(bucket, "key", b"12345")
        [listed] = [found async for found in store.list(bucket)]
        assert listed.size == 5
        assert before - 1000 <= listed.modified_ms <= epoch_now() + 1000  # some stores give whole seconds

    async def test_a_move_that_is_done_again_ends_in_the_same_state(
        self, store: ObjectStore, bucket: str
    ) -> None:
        await store.put(bucket, "here", b"content")
        for _ in range(2):
            await store.move((bucket, "here"), (bucket, "there"))
            assert await keys(store, bucket) == ["there"]
        assert await store.get(bucket, "there") == b"content"

    async def test_a_version_is_copied_and_removed_unless_another_one_has_come(
        self, store: ObjectStore, bucket: str
    ) -> None:
        here, there = (bucket, "here"), (bucket, "there")
        await store.put(*here, b"first")
        first = await store.etag(*here)
        assert first is not None
        assert await store.copy_version(here, there, first)
        await store.put(*here, b"second")
        assert not await store.copy_version(here, there, first)
        assert await store.get(*there) == b"first"
        await store.remove_version(*here, first)
        assert await store.get(*here) == b"second"
        second = await store.etag(*here)
        assert second is not None
        await store.remove_version(*here, second)
        assert await keys(store, bucket) == ["there"]
        assert not await store.copy_version(here, there, second)

    async def test_what_is_not_there_is_gone(self, store: ObjectStore, bucket: str) -> None:
        assert await store.etag(bucket, "nothing") is None
        assert await keys(store, bucket) == []
        await store.remove(bucket, "nothing")
        with pytest.raises(ObjectGone, match="nothing"):
            await store.get(bucket, "nothing")
        with pytest.raises(ObjectGone, match="nothing"):
            await store.move((bucket, "nothing"), (bucket, "target"))

    @pytest.mark.parametrize(
        "key", ["a/./b", ".", "../../etc/passwd", "day/../x.h5", pytest.param("é" * 513, id="too long")]
    )
    async def test_a_key_that_no_object_can_have_names_none(
        self, store: ObjectStore, bucket: str, key: str
    ) -> None:
        assert await store.etag(bucket, key) is None
        with pytest.raises(ObjectGone, match="no object can have this key"):
            await store.get(bucket, key)

    @pytest.mark.parametrize("act", EVERY_ACT)
    async def test_a_bucket_that_is_missing_is_waited_for_and_never_taken_for_an_object_that_is_gone(
        self, store: ObjectStore, act: Act
    ) -> None:
        assert not await store.has_bucket("no-such-bucket")
        with pytest.raises(BucketMissing, match="no-such-bucket"):
            await act(store, "no-such-bucket")
