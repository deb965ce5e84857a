"""Blocks from the store, with the most recent ones cached: devices of neighbouring shots share them."""

import asyncio
from collections import OrderedDict

from shotwatch_common.block import Block
from shotwatch_common.blocks import read_block
from shotwatch_common.fetching import block_bytes
from shotwatch_common.store import ObjectStore
from shotwatch_shots.records import BlockRef

CACHE_BYTES = 128 * 2**20


class BlockReader:
    """A reader of blocks that caches the most recently used ones, up to CACHE_BYTES."""

    def __init__(self, store: ObjectStore, reading: asyncio.Lock) -> None:
        self._store = store
        self._reading = reading
        self._kept: OrderedDict[BlockRef, tuple[Block, int]] = OrderedDict()

    async def read(self, ref: BlockRef) -> Block:
        """Return a block.

        It is fetched while `reading` is held, so that no block is fetched twice and memory stays bounded.

        Raises:
            ObjectGone: there is no such block (any more).
            ObjectTooLarge: it is larger than any that ingest writes.
            Retry: the store does not answer.
        """
        async with self._reading:
            if ref not in self._kept:
                data = await block_bytes(self._store, ref)
                self._kept[ref] = read_block(data), len(data)
            self._kept.move_to_end(ref)
            block, _ = self._kept[ref]
            self._forget_oldest()
            return block

    def _forget_oldest(self) -> None:
        while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > CACHE_BYTES:
            self._kept.popitem(last=False)
