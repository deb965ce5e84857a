"""Blocks: how many rows one has is read off its ends, and agrees with Arrow's own reader of the whole."""

import numpy as np
import pyarrow as pa
import pytest

from shotwatch_common.blocks import Array, Block, rows_in_block, write_block

END = 4096


def block(rows: int, **arrays: Array) -> bytes:
    state = [("ON", "OFF", None)[n % 3] for n in range(rows)]
    return bytes(write_block(Block("camera", np.arange(rows), state, np.ones(rows, bool), arrays)))


def ends(data: bytes) -> tuple[bytes, bytes, int]:
    return data[:END], data[max(END, len(data) - END) :], len(data)


@pytest.mark.parametrize("rows", [0, 1, 7, 60, 6000])
def test_rows_are_counted_by_both_ends_of_a_block(rows: int) -> None:
    frames = {"image": np.zeros((rows, 20, 30), np.uint16)} if rows else {}
    for arrays in ({}, {"energy1": np.zeros(rows), "energy2": np.zeros(rows)}, frames):
        data = block(rows, **arrays)
        assert rows_in_block(*ends(data)) == pa.ipc.open_file(data).read_all().num_rows == rows


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_what_is_no_block_is_refused(keep: int) -> None:
    with pytest.raises(ValueError, match="not a block"):
        rows_in_block(*ends(block(60, image=np.zeros((60, 20, 30), np.uint16))[:keep]))
