"""What the services rely on in an object store, asked of each that is here."""

import asyncio
import gzip
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from miniopy_async.api import Minio
from miniopy_async.commonconfig import ENABLED, Filter
from miniopy_async.lifecycleconfig import Expiration, LifecycleConfig, Rule

from shotwatch_common.store import ObjectStore
from shotwatch_embedded.servers import Server
from shotwatch_operations.store.setup import ConfigurableStore, PartState, SetupResult, SetupSettings, set_up
from shotwatch_shots.errors import Retry
from tests.facilities import FACILITY
from tests.ports import PORTS
from tests.support.store_contract import ACTS, BIG, EVERY_ACT, Act, StoreContract, keys, new_bucket

from .conftest import until
from .processes import enlarge, serving, small_disk
from .store_servers import KEYS, STORES, StoreRecipe, embedded_store, minio


@dataclass(frozen=True, slots=True)
class Served:
    """A store that runs, and the way into it."""

    server: Server
    store: ConfigurableStore

    def settings(self, **further: Any) -> SetupSettings:
        elsewhere = {"database_url": "mongodb://elsewhere", "models_url": "http://elsewhere"}
        variables = {
            name.removeprefix("SHOTWATCH_").lower(): value for name, value in self.server.settings.items()
        }
        return SetupSettings.load(**elsewhere, **variables, facility=str(FACILITY), **further)


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


@pytest.fixture
async def bucket(store: ObjectStore) -> str:
    return await new_bucket(store)


class TestContract(StoreContract):
    """The servers obey it."""


async def test_a_big_object_is_read_as_it_was_written(store: ObjectStore, bucket: str) -> None:
    content = os.urandom(BIG)
    await store.put(bucket, "key", pa.py_buffer(content))
    assert await store.get(bucket, "key") == content
    [listed] = [found async for found in store.list(bucket)]
    assert (listed.size, listed.etag) == (BIG, await store.etag(bucket, "key"))


async def test_an_object_that_declares_a_compression_is_not_decompressed(
    served: Served, store: ObjectStore, bucket: str
) -> None:
    """Its size is bounded as it is stored: 1 MB may be 1 GB after decompression."""
    compressed = gzip.compress(bytes(8 << 20))
    address = urlsplit(served.server.settings["SHOTWATCH_STORE_URL"]).netloc
    async with Minio(address, *KEYS, secure=False, region="us-east-1") as sender:
        declared = {"Content-Encoding": "gzip"}
        await sender.put_object(bucket, "a", io.BytesIO(compressed), len(compressed), metadata=declared)
    assert await store.get(bucket, "a", len(compressed)) == compressed
    assert [piece async for piece in store.pieces(bucket, "a", len(compressed))] == [compressed]


@pytest.mark.parametrize("act", EVERY_ACT)
async def test_wrong_keys_are_reported_and_are_no_answer_about_an_object(
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
            with pytest.raises(Retry, match="the object store reports"):
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


async def states(served: Served, *, dry_run: bool = False, **further: Any) -> list[SetupResult]:
    settings = served.settings(inbox_bucket="new-inbox", block_bucket="new-blocks", **further)
    return [found async for found in set_up(served.store, settings, dry_run)]


async def test_a_setup_is_made_once_and_a_dry_run_makes_nothing(served: Served) -> None:
    assert PartState.MADE not in {found.state for found in await states(served, dry_run=True)}
    assert not await served.store.has_bucket("new-inbox")
    first, second = await states(served), await states(served)
    assert [found.what for found in first] == [found.what for found in second]
    assert {found.bucket for found in first if found.state is PartState.MADE} >= {"new-inbox", "new-blocks"}
    assert PartState.MADE not in {found.state for found in second}


async def test_a_store_that_can_neither_notify_nor_expire_is_set_up_all_the_same(tmp_path: Path) -> None:
    server = embedded_store(tmp_path, *KEYS, PORTS)
    async with serving(server), client(server) as opened:
        found = await states(Served(server, opened))
    unsupported = [each for each in found if each.state is PartState.UNSUPPORTED]
    assert [each.bucket for each in unsupported] == ["new-inbox", "new-blocks", "data"]
    assert all(each.detail for each in unsupported)
    assert [each.bucket for each in found if each.state is PartState.MADE] == ["new-inbox", "new-blocks"]


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
        assert (before.state, after.state) == (PartState.MADE, PartState.THERE)


@pytest.mark.minio
async def test_what_the_store_refuses_is_reported_in_its_words_and_the_rest_is_done(
    configurable: Served,
) -> None:
    nobody = "arn:minio:sqs::NOBODY:amqp"
    found = await states(configurable, event_target=nobody, raw_tier="NOWHERE", block_days="3")
    refused = {each.bucket: each.detail for each in found if each.state is PartState.REFUSED}
    assert "destination ARN does not exist" in refused["new-inbox"]
    assert "storage class" in refused["data"]
    assert [each.state for each in found if "expire after 3 days" in each.what] == [PartState.MADE]


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
