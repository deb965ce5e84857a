"""What the services rely on in an object store, asked of each that is here."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from miniopy_async.api import Minio
from miniopy_async.commonconfig import ENABLED, Filter
from miniopy_async.lifecycleconfig import Expiration, LifecycleConfig, Rule

from shotwatch_common.clock import epoch_now
from shotwatch_common.store import BucketMissing, ObjectGone, ObjectStore, ObjectTooLarge
from shotwatch_embedded.servers import Server
from shotwatch_operations.store.setup import ConfigurableStore, Finding, SetupSettings, State, set_up
from shotwatch_shots.errors import Retry
from tests.facilities import FACILITY
from tests.ports import PORTS

from .conftest import until
from .processes import enlarge, serving, small_disk
from .store_servers import KEYS, STORES, StoreRecipe, embedded_store, minio

MORE_THAN_A_PAGE = 1005
BIG = 40 << 20
ODD_KEYS = (
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


@dataclass(frozen=True, slots=True)
class Served:
    """A store that runs, and the way into it."""

    server: Server
    store: ConfigurableStore

    def settings(self, **further: Any) -> SetupSettings:
        elsewhere = {"database_url": "mongodb://elsewhere", "models_url": "http://elsewhere"}
        told = {
            name.removeprefix("SHOTWATCH_").lower(): value for name, value in self.server.settings.items()
        }
        return SetupSettings.load(**elsewhere, **told, facility=str(FACILITY), **further)


def client(server: Server, access_key: str = KEYS[0], secret_key: str = KEYS[1]) -> ConfigurableStore:
    return ConfigurableStore.at(server.settings["SHOTWATCH_STORE_URL"], access_key, secret_key)


@pytest.fixture(scope="module", params=STORES)
async def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    server = request.param(tmp_path_factory.mktemp("store"), *KEYS, PORTS)
    async with serving(server), client(server) as opened:
        yield Served(server, opened)


@pytest.fixture
def store(served: Served) -> ObjectStore:
    return served.store


_numbers = count()


@pytest.fixture
async def bucket(store: ObjectStore) -> str:
    name = f"bucket-{next(_numbers)}"
    await store.ensure_buckets(name)
    return name


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


async def test_an_object_is_read_as_it_was_written_last(store: ObjectStore, bucket: str) -> None:
    for content in (b"first and longer", b"second", b""):
        await store.put(bucket, "key", content)
        assert await store.get(bucket, "key") == content
    assert await keys(store, bucket) == ["key"]


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 250_000])
async def test_an_object_is_read_in_pieces(store: ObjectStore, bucket: str, size: int) -> None:
    content = os.urandom(size)
    await store.put(bucket, "key", content)
    pieces = [piece async for piece in store.pieces(bucket, "key", 1000)]
    assert b"".join(pieces) == content
    assert {len(piece) for piece in pieces[:-1]} <= {1000}
    with pytest.raises(ObjectGone):
        await anext(store.pieces(bucket, "none", 1000))


async def test_a_big_object_is_read_as_it_was_written(store: ObjectStore, bucket: str) -> None:
    content = os.urandom(BIG)
    await store.put(bucket, "key", pa.py_buffer(content))
    assert await store.get(bucket, "key") == content
    [listed] = [found async for found in store.list(bucket)]
    assert (listed.size, listed.etag) == (BIG, await store.etag(bucket, "key"))


async def test_an_object_larger_than_the_caller_takes_is_not_fetched(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "key", bytes(BIG))
    with pytest.raises(ObjectTooLarge, match=f"{BIG} bytes"):
        await store.get(bucket, "key", BIG - 1)
    assert await store.get(bucket, "key", BIG) == bytes(BIG)


async def test_odd_keys_are_kept_as_they_are(store: ObjectStore, bucket: str) -> None:
    for key in ODD_KEYS:
        await store.put(bucket, key, key.encode())
    assert set(await keys(store, bucket)) == set(ODD_KEYS)
    for key in ODD_KEYS:
        await store.move((bucket, key), (bucket, f"moved/{key}"))
        assert await store.get(bucket, f"moved/{key}") == key.encode()
    for key in await keys(store, bucket):
        await store.remove(bucket, key)
    assert await keys(store, bucket) == []


async def test_a_listing_has_every_object_under_the_prefix_in_the_order_of_keys(
    store: ObjectStore, bucket: str
) -> None:
    there = [f"many/{n:05d}" for n in range(MORE_THAN_A_PAGE)]
    await asyncio.gather(*(store.put(bucket, key, b"") for key in (*there, "manyfold", "other/00000")))
    assert await keys(store, bucket, "many/") == there
    assert await keys(store, bucket) == sorted([*there, "manyfold", "other/00000"])


async def test_the_etag_names_the_content_alone_and_is_the_same_wherever_it_is_told(
    store: ObjectStore, bucket: str
) -> None:
    for key, content in (("a", b"one"), ("b", b"one"), ("c", b"other")):
        await store.put(bucket, key, content)
    listed = {found.key: found.etag async for found in store.list(bucket)}
    assert listed == {key: await store.etag(bucket, key) for key in ("a", "b", "c")}
    assert listed["a"] == listed["b"] != listed["c"]


async def test_a_listing_tells_when_an_object_came_and_how_big_it_is(store: ObjectStore, bucket: str) -> None:
    before = epoch_now()
    await store.put(bucket, "key", b"12345")
    [listed] = [found async for found in store.list(bucket)]
    assert listed.size == 5
    assert before - 1000 <= listed.modified_ms <= epoch_now() + 1000  # some stores tell whole seconds


async def test_a_move_that_is_done_again_ends_in_the_same_state(store: ObjectStore, bucket: str) -> None:
    await store.put(bucket, "here", b"content")
    for _ in range(2):
        await store.move((bucket, "here"), (bucket, "there"))
        assert await keys(store, bucket) == ["there"]
    assert await store.get(bucket, "there") == b"content"


async def test_what_is_not_there_is_gone(store: ObjectStore, bucket: str) -> None:
    assert await store.etag(bucket, "nothing") is None
    assert await keys(store, bucket) == []
    await store.remove(bucket, "nothing")
    with pytest.raises(ObjectGone, match="nothing"):
        await store.get(bucket, "nothing")
    with pytest.raises(ObjectGone, match="nothing"):
        await store.move((bucket, "nothing"), (bucket, "target"))


@pytest.mark.parametrize("key", ["a/./b", ".", "../../etc/passwd", "day/../x.h5"])
async def test_a_key_that_would_be_a_path_names_no_object(store: ObjectStore, bucket: str, key: str) -> None:
    assert await store.etag(bucket, key) is None
    with pytest.raises(ObjectGone, match="no object can have this key"):
        await store.get(bucket, key)


@pytest.mark.parametrize("act", EVERY_ACT)
async def test_a_bucket_that_is_missing_is_waited_for_and_never_taken_for_an_object_that_is_gone(
    store: ObjectStore, act: Act
) -> None:
    assert not await store.has_bucket("no-such-bucket")
    with pytest.raises(BucketMissing, match="no-such-bucket"):
        await act(store, "no-such-bucket")


@pytest.mark.parametrize("act", EVERY_ACT)
async def test_wrong_keys_are_told_and_are_no_answer_about_an_object(
    served: Served, bucket: str, act: Act
) -> None:
    async with client(served.server, secret_key="not-the-secret-key") as stranger:
        with pytest.raises(Retry, match="SignatureDoesNotMatch"):
            await act(stranger, bucket)
        with pytest.raises(Retry, match="AccessDenied"):
            await stranger.etag(bucket, "key")


async def test_of_many_who_write_one_object_at_once_one_wins_whole(store: ObjectStore, bucket: str) -> None:
    contents = [bytes([n]) * 200_000 for n in range(8)]
    written = [f"key-{n:02d}" for n in range(20)]  # rclone listed about one key in ten twice
    for key in written:
        await asyncio.gather(*(store.put(bucket, key, content) for content in contents))
        assert await store.get(bucket, key) in contents
    assert await keys(store, bucket) == written
    for key in written:
        await store.remove(bucket, key)
    assert await keys(store, bucket) == []


@pytest.mark.parametrize("recipe", STORES)
async def test_a_store_that_is_away_is_waited_for(recipe: StoreRecipe, tmp_path: Path) -> None:
    server = recipe(tmp_path, *KEYS, PORTS)
    async with client(server) as store:
        async with serving(server):
            await store.ensure_buckets("bucket")
            await store.put("bucket", "key", b"content")
        for act in ACTS.values():
            with pytest.raises(Retry, match="cannot be reached"):
                await act(store, "bucket")
        with pytest.raises(Retry, match="cannot be reached"):
            await store.etag("bucket", "key")
        async with serving(server):
            assert await store.get("bucket", "key") == b"content"


@pytest.mark.parametrize("recipe", STORES)
async def test_a_full_disk_is_waited_for_and_loses_nothing(recipe: StoreRecipe, tmp_path: Path) -> None:
    content, written = os.urandom(4 << 20), 0
    with small_disk(tmp_path / "disk", "62m"):
        server = recipe(tmp_path / "disk", *KEYS, PORTS)
        async with serving(server), client(server) as store:
            await store.ensure_buckets("bucket")
            while await _accepted(store, f"{written:03d}", content):
                written += 1
            with pytest.raises(Retry, match="the object store says"):
                await store.put("bucket", f"{written:03d}", content)
            assert await keys(store, "bucket") == [f"{n:03d}" for n in range(written)]
            enlarge(tmp_path / "disk", "256m")
            await until(lambda: _accepted(store, f"{written:03d}", content), "taken, now that there is room")
            assert await keys(store, "bucket") == [f"{n:03d}" for n in range(written + 1)]
            assert await store.get("bucket", "000") == content


async def _accepted(store: ObjectStore, key: str, content: bytes) -> bool:
    try:
        await store.put("bucket", key, content)
    except Retry:
        return False
    return True


async def states(served: Served, *, dry_run: bool = False, **further: Any) -> list[Finding]:
    settings = served.settings(inbox_bucket="new-inbox", block_bucket="new-blocks", **further)
    return [found async for found in set_up(served.store, settings, dry_run)]


async def test_a_setup_is_made_once_and_a_dry_run_makes_nothing(served: Served) -> None:
    assert State.MADE not in {found.state for found in await states(served, dry_run=True)}
    assert not await served.store.has_bucket("new-inbox")
    first, second = await states(served), await states(served)
    assert [found.what for found in first] == [found.what for found in second]
    assert {found.bucket for found in first if found.state is State.MADE} >= {"new-inbox", "new-blocks"}
    assert State.MADE not in {found.state for found in second}


async def test_a_store_that_can_neither_notify_nor_expire_is_set_up_all_the_same(tmp_path: Path) -> None:
    server = embedded_store(tmp_path, *KEYS, PORTS)
    async with serving(server), client(server) as opened:
        found = await states(Served(server, opened))
    unsupported = [each for each in found if each.state is State.UNSUPPORTED]
    assert [each.bucket for each in unsupported] == ["new-inbox", "new-blocks", "data"]
    assert all(each.detail for each in unsupported)
    assert [each.bucket for each in found if each.state is State.MADE] == ["new-inbox", "new-blocks"]


@pytest.fixture(scope="module")
async def configurable(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A store that can all that we configure."""
    server = minio(tmp_path_factory.mktemp("configurable"), *KEYS, PORTS)
    async with serving(server), client(server) as opened:
        yield Served(server, opened)


@pytest.mark.minio
async def test_a_setup_follows_its_settings_back_and_forth(configurable: Served) -> None:
    for days, lasting in ((7, "expire after 7 days"), (8, "expire after 8 days"), (0, "stay"), (7, "expire")):
        before, after = [
            next(found for found in await states(configurable, block_days=str(days)) if lasting in found.what)
            for _ in range(2)
        ]
        assert (before.state, after.state) == (State.MADE, State.THERE)


@pytest.mark.minio
async def test_what_the_store_refuses_is_told_in_its_words_and_the_rest_is_done(configurable: Served) -> None:
    nobody = "arn:minio:sqs::NOBODY:amqp"
    found = await states(configurable, event_target=nobody, raw_tier="NOWHERE", block_days="3")
    refused = {each.bucket: each.detail for each in found if each.state is State.REFUSED}
    assert "destination ARN does not exist" in refused["new-inbox"]
    assert "storage class" in refused["data"]
    assert [each.state for each in found if "expire after 3 days" in each.what] == [State.MADE]


@pytest.mark.minio
async def test_what_others_configured_of_a_bucket_stays(configurable: Served) -> None:
    await states(configurable)
    theirs = Rule(ENABLED, expiration=Expiration(days=1), rule_filter=Filter(prefix="t/"), rule_id="theirs")
    access = Minio(urlsplit(configurable.server.settings["SHOTWATCH_STORE_URL"]).netloc, *KEYS, secure=False)
    try:
        ours = await access.get_bucket_lifecycle("new-blocks")
        await access.set_bucket_lifecycle("new-blocks", LifecycleConfig([*ours.rules, theirs]))
        await states(configurable, block_days="11")
        rules = {
            rule.rule_id: rule.expiration.days
            for rule in (await access.get_bucket_lifecycle("new-blocks")).rules
        }
    finally:
        await access.close_session()
    assert rules == {"shotwatch": 11, "theirs": 1}
