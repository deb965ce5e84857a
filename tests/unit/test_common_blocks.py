"""Blocks: how many rows one has is read off its ends, and agrees with Arrow's own reader of the whole."""

import numpy as np
import pyarrow as pa
import pytest

from shotwatch_common.blocks import Array, Block, read_block, rows_in_block, write_block

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


def with_offsets(rows: int, last: int) -> bytes:
    """A block whose table of states ends `last` bytes after its beginning."""
    data = block(rows)
    honest = np.array([0, 2, 5], "<i4").tobytes()
    assert data.count(honest) == 1, "the offsets of ON and OFF"
    return data.replace(honest, np.array([0, 2, last], "<i4").tobytes())


@pytest.mark.parametrize("last", [0x7FFFFF00, 200_000, -1])
def test_a_block_whose_texts_lie_outside_it_is_refused(last: int) -> None:
    """Arrow reads what lies there: memory of the process, or none, which ends it."""
    assert read_block(with_offsets(60, 5)).state[:3] == ["ON", "OFF", None]
    with pytest.raises(ValueError, match="not a block"):
        read_block(with_offsets(60, last))


@pytest.mark.parametrize("name", ["time", "state", "readable", "image"])
def test_a_block_with_a_column_of_another_type_is_refused(name: str) -> None:
    table = pa.ipc.open_file(block(3, image=np.zeros((3, 2, 2), np.uint16))).read_all()
    wrong = table.set_column(table.column_names.index(name), name, pa.array(["a text"] * 3))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, wrong.schema) as writer:
        writer.write_table(wrong)
    with pytest.raises(ValueError, match=f"not a block: {name} is string"):
        read_block(sink.getvalue())
