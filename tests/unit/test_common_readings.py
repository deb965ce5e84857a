"""How a batch's records come out of its blocks, and how their features come together again."""

import asyncio
from typing import cast

import numpy as np
import pytest

from shotwatch_common.block import Block
from shotwatch_common.blocks import write_block
from shotwatch_common.readings import Collected, Readings, readings_of
from shotwatch_common.store import ObjectStore
from shotwatch_shots.batch import ABSENT, Mask, Member, ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.records import BlockRef


class Blocks:
    """Two blocks of an energy meter: row n of the first holds n, of the second 10 + n."""

    block_cache = None

    async def get(self, _bucket: str, key: str, _most: int) -> bytes:
        energies = int(key) + np.arange(3.0)
        block = Block(
            "meter",
            np.arange(3),
            ["ON"] * 3,
            np.ones(3, bool),
            dict.fromkeys(("energy1", "energy2"), energies),
        )
        return cast("bytes", write_block(block).to_pybytes())


def batch() -> ShotBatch:
    """Five shots: two of the first block, one without a record, one refused, and one of the second block."""
    meter = Member(
        device="meter",
        kind=DeviceKind.ENERGY_METER,
        blocks=[BlockRef(bucket="blocks", key=key, object_id=key, object_key=key) for key in ("0", "10")],
        source=[0, 0, ABSENT, 1, 1],
        row=[0, 2, 0, 0, 1],
        reasons=["out_of_range"],
        verdict=[0, 0, 0, 1, 0],
        on=[True] * 5,
    )
    return ShotBatch(
        batch_id="batch",
        window_id="window",
        series=ShotSeries.parse("LA-A1-11-1s"),
        pulses=[0, 1000, 2000, 3000, 4000],
        revisions=[1] * 5,
        complete=[True] * 5,
        members=[meter],
        last_arrival=0,
    )


def parts(chosen: Mask | None, *kinds: DeviceKind) -> list[Readings]:
    async def read() -> list[Readings]:
        store = cast("ObjectStore", Blocks())
        return [part async for part in readings_of(batch().members_of(kinds), store, chosen)]

    return asyncio.run(read())


def test_a_part_has_the_valid_records_of_one_block_and_knows_their_shots() -> None:
    first, second = parts(None, DeviceKind.ENERGY_METER)
    assert (first.shots.tolist(), first.arrays["energy1"].tolist()) == ([0, 1], [0, 2])
    assert (second.shots.tolist(), second.arrays["energy1"].tolist()) == ([4], [11])


def test_blocks_of_which_no_shot_is_chosen_and_other_devices_are_not_read() -> None:
    (last,) = parts(np.arange(5) == 4, DeviceKind.ENERGY_METER)
    assert last.shots.tolist() == [4]
    assert parts(None, DeviceKind.CAMERA) == []


def test_of_a_part_only_some_shots_can_be_kept() -> None:
    first, second = parts(None, DeviceKind.ENERGY_METER)
    kept = first.only(np.arange(5) == 1)
    assert (kept.shots.tolist(), kept.arrays["energy1"].tolist()) == ([1], [2])
    assert not len(second.only(np.arange(5) == 1).shots)


def test_features_of_parts_come_together_as_columns_over_the_shots() -> None:
    collected = Collected(5)
    for part in parts(None, DeviceKind.ENERGY_METER):
        collected.add(part, {"doubled": 2 * part.arrays["energy1"]})
    nothing = float("nan")
    assert collected.columns["meter"]["doubled"] == pytest.approx([0, 4, nothing, nothing, 22], nan_ok=True)


def test_slices_have_each_shot_once_in_order_with_its_record() -> None:
    first, _ = parts(None, DeviceKind.ENERGY_METER)
    one, other = first.slices(1)
    assert [(part.shots.tolist(), part.arrays["energy1"].tolist()) for part in (one, other)] == [
        ([0], [0]),
        ([1], [2]),
    ]
    (whole,) = first.slices(2)
    assert whole.shots.tolist() == [0, 1]
    assert np.shares_memory(whole.arrays["energy1"], first.arrays["energy1"])
