"""The block reader keeps what is used again, and no more than it may."""

import asyncio
import sys
from typing import cast

import numpy as np
import pytest

from shotwatch_common.block import Block
from shotwatch_common.blocks import write_block
from shotwatch_common.store import ObjectStore
from shotwatch_query import blocks
from shotwatch_query.blocks import BlockReader
from shotwatch_shots.records import BlockRef


class Store:
    """Counts fetches."""

    block_cache = None

    def __init__(self) -> None:
        self.fetched: list[str] = []

    async def get(self, _bucket: str, key: str, _most: int) -> bytes:
        self.fetched.append(key)
        await asyncio.sleep(0)
        energies = np.arange(1000, dtype=np.float64)
        arrays = {"energy1": energies, "energy2": energies}
        block = Block(key, np.arange(1000), ["ON"] * 1000, np.ones(1000, bool), arrays)
        return write_block(block).to_pybytes()


def ref(key: str) -> BlockRef:
    return BlockRef(bucket="blocks", key=key, object_id="o", object_key="f.h5")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def reading() -> asyncio.Lock:
    return asyncio.Lock()


@pytest.fixture
def reader(store: Store, reading: asyncio.Lock) -> BlockReader:
    return BlockReader(cast(ObjectStore, store), reading)


async def test_no_block_is_fetched_while_another_is_read(
    store: Store, reader: BlockReader, reading: asyncio.Lock
) -> None:
    """Frames are read from other blocks: the memory of both is bounded together."""
    async with reading:
        waits = asyncio.create_task(reader.read(ref("a")))
        for _ in range(10):
            await asyncio.sleep(0)
        assert store.fetched == []
    await waits
    assert store.fetched == ["a"]


async def test_a_block_is_fetched_once_however_many_ask(store: Store, reader: BlockReader) -> None:
    asked = await asyncio.gather(*(reader.read(ref("a")) for _ in range(5)))
    assert store.fetched == ["a"]
    assert {block.device for block in asked} == {"a"}


async def test_the_least_recently_used_block_is_forgotten_first(
    store: Store, reader: BlockReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(await Store().get("blocks", "a", sys.maxsize))
    monkeypatch.setattr(blocks, "CACHE_BYTES", 2 * size)
    for key in ("a", "b", "a", "c", "a", "b"):
        await reader.read(ref(key))
    assert store.fetched == ["a", "b", "c", "b"]


async def test_a_block_larger_than_the_cache_is_read_all_the_same(
    store: Store, reader: BlockReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CACHE_BYTES", 1)
    assert (await reader.read(ref("a"))).device == "a"
