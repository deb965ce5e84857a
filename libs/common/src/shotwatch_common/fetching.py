"""Writing and reading blocks: in the object store, and in the block cache if this machine has one."""

import asyncio

import pyarrow as pa
from deflate import crc32

from shotwatch_common import metrics
from shotwatch_common.block import MAX_BLOCK_BYTES, Block
from shotwatch_common.blocks import read_block, write_block
from shotwatch_common.store import ObjectGone, ObjectStore, ObjectTooLarge
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.records import BlockRef


class BlockGone(Retry):
    """A block does not exist: it is not written yet, or it has expired."""


async def put_block(store: ObjectStore, ref: BlockRef, block: Block) -> tuple[BlockRef, str]:
    """Write a block to the store, and to the block cache. Return the reference with its CRC-32, and its etag.

    Raises:
        Retry: the store is not available, or the block is gone again.
    """
    data = await asyncio.to_thread(write_block, block)
    ref = ref.model_copy(update={"crc32": await asyncio.to_thread(crc32, data)})
    await store.put(ref.bucket, ref.key, data)
    etag = await store.etag(ref.bucket, ref.key)
    if etag is None:
        raise BlockGone(f"block {ref.key} of {ref.object_key} is gone since it was written")
    if store.block_cache is not None:
        await asyncio.to_thread(store.block_cache.keep, ref, data)
    metrics.block_written(len(data))
    return ref, etag


async def fetch_block(store: ObjectStore, ref: BlockRef) -> Block:
    """Return a block.

    Raises:
        BlockGone: the block does not exist.
        Reject: it is larger than any that ingest writes, or is not a block.
        Retry: the store is not available.
    """
    try:
        data = await block_bytes(store, ref)
    except ObjectTooLarge as error:
        raise Reject("block_too_large", f"block {error}, of {ref.object_key}") from error
    except ObjectGone as error:
        raise BlockGone(f"block {ref.key} of {ref.object_key} is not there (yet)") from error
    try:
        return read_block(data)
    except ValueError as error:
        raise Reject("block_unreadable", f"{ref.key} of {ref.object_key}: {error}") from error


async def block_bytes(store: ObjectStore, ref: BlockRef) -> bytes | pa.Buffer:
    """Return the bytes of a block from the block cache, or else from the store.

    Raises:
        ObjectGone: the block does not exist.
        ObjectTooLarge: it is larger than any that ingest writes.
        Retry: the store is not available.
    """
    data = await asyncio.to_thread(store.block_cache.find, ref) if store.block_cache is not None else None
    if data is None:
        data = await store.get(ref.bucket, ref.key, MAX_BLOCK_BYTES)
    metrics.block_read(len(data))
    return data
