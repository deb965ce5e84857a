"""A block that is not as ingest writes it never enters memory."""

import pytest

from shotwatch_common import fetching
from shotwatch_common.fetching import BlockGone, fetch_block
from shotwatch_shots.errors import Reject
from shotwatch_shots.records import BlockRef
from tests.support.world import World

REF = BlockRef(bucket="blocks", key="2022-07-01/o/d.arrow", object_id="o", object_key="file.h5")


async def test_a_block_larger_than_any_that_ingest_writes_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = World().objects
    monkeypatch.setattr(fetching, "MAX_BLOCK_BYTES", 99)
    await store.put(REF.bucket, REF.key, bytes(100))
    with pytest.raises(Reject, match=r"d.arrow: has 100 bytes, 99 at most are read, of file.h5"):
        await fetch_block(store, REF)


async def test_a_block_that_is_not_there_may_come_yet() -> None:
    with pytest.raises(BlockGone, match=r"d.arrow of file.h5"):
        await fetch_block(World().objects, REF)


async def test_an_object_that_is_no_block_is_rejected_with_its_place() -> None:
    store = World().objects
    await store.put(REF.bucket, REF.key, b"ARROW1\0\0" + bytes(100))
    with pytest.raises(Reject, match=r"d.arrow of file.h5: not a block: ") as refused:
        await fetch_block(store, REF)
    assert refused.value.reason == "block_unreadable"
