"""Blocks: the records of one device group of one file as columns, in an Arrow IPC file.

Columns: `time` (epoch ms), `state` (dictionary), `readable`, and depending on the device `image` (uint16,
shape h x w), `spectrum` (float32, shape n) or `energy1`, `energy2` (float64). Rows of records that could not
be read are filled with 0 (NaN for energies); there `readable` is false. Any Arrow reader (pandas, polars,
DuckDB) can open the files directly.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_DATA_BYTES = 64 << 20
"""Maximum size of the data in a block: a camera's minute at 10 Hz takes 16 MB, and 42 MB if each record is
doubled and the file has its longest margins. A service reads whole blocks, several at a time, and again for
each minute of shots: this limit bounds its memory."""
_FIXED = {
    "time": pa.timestamp("ms", tz="UTC"),
    "state": pa.dictionary(pa.int32(), pa.string()),
    "readable": pa.bool_(),
}
"""The first columns of each block; the others are numbers."""
MAX_BLOCK_BYTES = MAX_DATA_BYTES + (8 << 20)
"""Maximum size of a block: its data, and for each record its time, state and readability."""


@dataclass(frozen=True, slots=True)
class Block:
    """The decoded records of one device group: n rows in every column."""

    device: str
    time: NDArray[np.int64]
    state: Sequence[str | None]
    readable: NDArray[np.bool_]
    arrays: dict[str, Array] = field(default_factory=dict)
    """Column name → (n, ...) array: `image`, `spectrum`, `energy1`, `energy2`."""


def write_block(block: Block) -> pa.Buffer:
    """Return the Arrow IPC file of a block.

    It is one uncompressed record batch, so it can be read without copying.
    """
    columns: dict[str, pa.Array] = {
        "time": pa.array(block.time, pa.timestamp("ms", tz="UTC")),
        "state": pa.array(block.state, pa.string()).dictionary_encode(),
        "readable": pa.array(block.readable),
    }
    for name, array in block.arrays.items():
        columns[name] = _column(array)
    table = pa.table(columns).replace_schema_metadata({"device": block.device})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read_block(data: bytes | memoryview | pa.Buffer) -> Block:
    """Return the block that a file holds; its arrays are views of `data`.

    Raises:
        ValueError: the bytes are not a block.
    """
    try:
        reader = pa.ipc.open_file(pa.BufferReader(data))
        _require_types(reader.schema)
        table = reader.read_all()
        table.validate(full=True)  # Arrow trusts a file's offsets: one that points outside it would crash
    except pa.ArrowException as error:
        raise ValueError(f"not a block: {error}") from error
    device = (table.schema.metadata or {}).get(b"device", b"").decode()
    return Block(
        device=device,
        time=table["time"].cast(pa.int64()).to_numpy(),
        state=table["state"].to_pylist(),
        readable=table["readable"].to_numpy(),
        arrays={name: _array(table[name]) for name in table.column_names if name not in _FIXED},
    )


def _require_types(schema: pa.Schema) -> None:
    """Check that the columns have the types that `write_block` gives them, before anything is read.

    Raises:
        ValueError: they have others.
    """
    types = {name: schema.field(name).type for name in schema.names}
    numbers = (pa.types.is_integer, pa.types.is_floating)
    for name, type_ in types.items():
        values = type_.value_type if isinstance(type_, pa.FixedShapeTensorType) else type_
        if type_ != _FIXED.get(name) and not any(is_number(values) for is_number in numbers):
            raise ValueError(f"not a block: {name} is {type_}")
    if list(types)[: len(_FIXED)] != list(_FIXED):
        raise ValueError(f"not a block: its columns are {', '.join(types)}")


def rows_in_block(head: bytes, tail: bytes, size: int) -> int:
    """Return how many rows a block of `size` bytes has, given only the bytes at both its ends.

    An Arrow IPC file describes its columns at the end, and the length of its record batch before the data.
    What lies between reads as zeros and is not used.

    Raises:
        ValueError: the bytes are not a block.
    """
    sparse = pa.PythonFile(_Sparse(head, tail, size), mode="r")
    try:
        with pa.ipc.open_file(sparse, options=pa.ipc.IpcReadOptions(included_fields=[0])) as reader:
            return sum(reader.get_batch(n).num_rows for n in range(reader.num_record_batches))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"not a block: {error}") from error


class _Sparse(io.RawIOBase):
    """A file of which only both ends are known; the rest reads as zeros."""

    def __init__(self, head: bytes, tail: bytes, size: int) -> None:
        self._head = head
        self._tail = tail
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, length: int = -1) -> bytes:
        # The result is the part of the head, then zeros, then the part of the tail in [begin, stop).
        stop = self._size if length < 0 else min(self._at + length, self._size)
        begin, self._at = self._at, stop
        known, end = len(self._head), self._size - len(self._tail)
        unknown = bytes(max(min(stop, end) - max(begin, known), 0))
        return self._head[begin:stop] + unknown + self._tail[max(begin - end, 0) : max(stop - end, 0)]


def _column(array: Array) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))


def _array(column: pa.ChunkedArray) -> Array:
    chunk = column.combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):
        chunk = chunk.chunk(0)
    if isinstance(chunk.type, pa.FixedShapeTensorType):
        tensor: Array = chunk.to_numpy_ndarray()
        return tensor
    flat: Array = chunk.to_numpy(zero_copy_only=False)
    return flat
