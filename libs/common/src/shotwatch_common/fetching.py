"""Reading blocks from the object store."""

from shotwatch_common import metrics
from shotwatch_common.block import MAX_BLOCK_BYTES, Block
from shotwatch_common.blocks import read_block
from shotwatch_common.store import ObjectGone, ObjectStore, ObjectTooLarge
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.records import BlockRef


class BlockGone(Retry):
    """A block does not exist: it is not written yet, or it has expired."""


async def fetch_block(store: ObjectStore, ref: BlockRef) -> Block:
    """Return a block from the object store.

    Raises:
        BlockGone: the block does not exist.
        Reject: it is larger than any that ingest writes, or is not a block.
        Retry: the store is not available.
    """
    try:
        data = await store.get(ref.bucket, ref.key, MAX_BLOCK_BYTES)
    except ObjectTooLarge as error:
        raise Reject("block_too_large", f"block {error}, of {ref.object_key}") from error
    except ObjectGone as error:
        raise BlockGone(f"block {ref.key} of {ref.object_key} is not there (yet)") from error
    try:
        block = read_block(data)
    except ValueError as error:
        raise Reject("block_unreadable", f"{ref.key} of {ref.object_key}: {error}") from error
    metrics.block_read(len(data))
    return block
