"""Blocks: only what ingest writes is read, and the rows are counted by both ends of a file."""

import numpy as np
import pyarrow as pa
import pytest

from shotwatch_common.block import MAX_BLOCK_BYTES, Array, Block
from shotwatch_common.blocks import read_block, rows_in_block, write_block

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


FRAMES = np.repeat(np.arange(3, dtype=np.uint16), 20 * 30).reshape(3, 20, 30)


def written(table: pa.Table, compression: str | None = None, rows: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, rows)
    return bytes(sink.getvalue())


def table(**arrays: Array) -> pa.Table:
    return pa.ipc.open_file(block(3, **arrays)).read_all()


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("compressed", [1, 2], ids=["dictionary", "record batch"])
def test_a_compressed_block_is_refused_before_it_is_decompressed(compression: str, compressed: int) -> None:
    texts = table(image=FRAMES).set_column(1, "state", pa.array(["O" * 10_000] * 3).dictionary_encode())
    plain, small = (
        list(pa.ipc.MessageReader.open_stream(written(texts, each)[8:])) for each in (None, compression)
    )
    assert small[compressed].body.size < plain[compressed].body.size
    mixed = [small[n] if n == compressed else plain[n] for n in range(3)]
    data = b"ARROW1\0\0" + b"".join(bytes(message.serialize()) for message in mixed)
    with pytest.raises(ValueError, match="not a block: it is compressed"):
        read_block(data)


def test_a_block_in_several_batches_is_refused() -> None:
    assert read_block(written(table(image=FRAMES))).arrays["image"].tolist() == FRAMES.tolist()
    with pytest.raises(ValueError, match="its messages are schema, dictionary, record batch, rec"):
        read_block(written(table(image=FRAMES), rows=2))


def test_a_block_with_other_columns_is_refused() -> None:
    whole = table(image=FRAMES)
    for wrong in (
        whole.append_column("energy1", pa.array([1.0] * 3)),
        whole.append_column("image", whole["image"]),
        whole.append_column("position", pa.array([1.0] * 3)),
        whole.select(["time", "state", "image"]),
        whole.set_column(3, "image", pa.array([1, 2, 3], pa.uint32())),
    ):
        with pytest.raises(ValueError, match="not a block: "):
            read_block(written(wrong))


@pytest.mark.parametrize("name", ["time", "readable", "energy1"])
def test_a_block_with_a_row_without_a_value_is_refused(name: str) -> None:
    whole = table(energy1=np.ones(3), energy2=np.ones(3))
    n = whole.column_names.index(name)
    gaps = pa.array([None, *whole[name].to_pylist()[1:]], whole.schema.field(n).type)
    with pytest.raises(ValueError, match=f"not a block: {name} has rows without a value"):
        read_block(written(whole.set_column(n, name, gaps)))


def test_a_long_state_is_in_memory_once() -> None:
    """A block of 64 MB would otherwise become terabytes of texts."""
    whole = table()
    state = read_block(written(whole.set_column(1, "state", pa.array(["O" * 10**6] * 3).dictionary_encode())))
    assert len({id(each) for each in state.state}) == 1
    assert len(state.state[0] or "") == 10**6


def test_a_block_larger_than_any_that_ingest_writes_has_no_rows() -> None:
    head, tail, _ = ends(block(60))
    with pytest.raises(ValueError, match=f"not a block: it has {MAX_BLOCK_BYTES + 1} bytes"):
        rows_in_block(head, tail, MAX_BLOCK_BYTES + 1)
