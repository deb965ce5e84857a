"""Blocks from the store, with the most recent ones cached: devices of neighbouring shots share them."""

import asyncio
from collections import OrderedDict

from shotwatch_common import metrics
from shotwatch_common.block import MAX_BLOCK_BYTES, Block
from shotwatch_common.blocks import read_block
from shotwatch_common.store import ObjectStore

CACHE_BYTES = 128 * 2**20

_Name = tuple[str, str]
"""Bucket and key."""


class BlockReader:
    """A reader of blocks that caches the most recently used ones, up to CACHE_BYTES."""

    def __init__(self, store: ObjectStore, reading: asyncio.Lock) -> None:
        self._store = store
        self._reading = reading
        self._kept: OrderedDict[_Name, tuple[Block, int]] = OrderedDict()

    async def read(self, bucket: str, key: str) -> Block:
        """Return a block.

        It is fetched while `reading` is held, so that no block is fetched twice and memory stays bounded.

        Raises:
            ObjectGone: there is no such block (any more).
            ObjectTooLarge: it is larger than any that ingest writes.
            Retry: the store does not answer.
        """
        name = bucket, key
        async with self._reading:
            if name not in self._kept:
                data = await self._store.get(bucket, key, MAX_BLOCK_BYTES)
                self._kept[name] = read_block(data), len(data)
                metrics.block_read(len(data))
            self._kept.move_to_end(name)
            block, _ = self._kept[name]
            self._forget_oldest()
            return block

    def _forget_oldest(self) -> None:
        while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > CACHE_BYTES:
            self._kept.popitem(last=False)
