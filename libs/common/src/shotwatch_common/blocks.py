"""Blocks: the records of one device group of one file as columns, in an Arrow IPC file.

Columns: `time` (epoch ms), `state` (dictionary), `readable`, and depending on the device `image` (uint16,
shape h x w), `spectrum` (float32, shape n) or `energy1`, `energy2` (float64). Rows of records that could not
be read are filled with 0 (NaN for energies); there `readable` is false. Any Arrow reader (pandas, polars,
DuckDB) can open the files directly.
"""

import io
import struct
from collections.abc import Iterable
from itertools import islice

import numpy as np
import pyarrow as pa

from shotwatch_common.block import MAX_BLOCK_BYTES, Array, Block
from shotwatch_shots.device_kinds import DEVICE_KINDS

_MAGIC_BYTES = 8
"""Size of the magic number, with padding, at the beginning of a file. A stream of messages follows it."""
_MESSAGES = ("schema", "dictionary", "record batch")
"""The messages of a block: states are the only dictionary. A block without rows has only the schema."""
_HEADER, _DATA, _COMPRESSION = 2, 1, 3
"""Fields of `Message`, `DictionaryBatch` and `RecordBatch` in Arrow's format/Message.fbs."""
_FIXED = {
    "time": pa.timestamp("ms", tz="UTC"),
    "state": pa.dictionary(pa.int32(), pa.string()),
    "readable": pa.bool_(),
}
"""The first columns of each block; the others are numbers."""
_NUMBERS = {
    name: pa.from_numpy_dtype(dtype) for kind in DEVICE_KINDS.values() for name, dtype in kind.columns.items()
}
"""The types of the numbers in the other columns."""


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

    What `write_block` never writes is refused before it is read: Arrow would allocate whatever size a
    compressed buffer states.

    Raises:
        ValueError: the bytes are not a block.
    """
    stream = pa.py_buffer(data)[_MAGIC_BYTES:]
    try:
        with pa.ipc.open_stream(stream) as reader:
            _require_types(reader.schema)
            _require_messages(pa.ipc.MessageReader.open_stream(stream))
            table = reader.read_all()
        table.validate(full=True)  # Arrow trusts a file's offsets: one that points outside it would crash
    except (pa.ArrowException, OSError, struct.error) as error:
        raise ValueError(f"not a block: {error}") from error
    for name in table.column_names:
        if name != "state" and table[name].null_count:
            raise ValueError(f"not a block: {name} has rows without a value")
    device = (table.schema.metadata or {}).get(b"device", b"").decode()
    return Block(
        device=device,
        time=table["time"].cast(pa.int64()).to_numpy(),
        state=_states(table["state"].combine_chunks()),
        readable=table["readable"].to_numpy(),
        arrays={name: _array(table[name]) for name in table.column_names if name not in _FIXED},
    )


def _require_messages(messages: Iterable[pa.Message]) -> None:
    """Check that a stream has the messages of a block, uncompressed.

    Raises:
        ValueError: it has others.
    """
    found = list(islice(messages, len(_MESSAGES) + 1))
    types = tuple(message.type for message in found)
    if types not in (_MESSAGES, _MESSAGES[:1]):
        raise ValueError(f"not a block: its messages are {', '.join(types)}")
    if any(_is_compressed(message) for message in found[1:]):
        raise ValueError("not a block: it is compressed")


def _is_compressed(message: pa.Message) -> bool:
    """Return whether the body of a dictionary or record batch is compressed, which PyArrow does not report.

    A message's metadata are a flatbuffer that Arrow has verified: a `Message` of its format/Message.fbs.
    """
    metadata = message.metadata
    (position,) = struct.unpack_from("<I", metadata)
    batch = _table(metadata, position, _HEADER)
    if message.type == "dictionary":
        batch = _table(metadata, batch, _DATA)
    return _field(metadata, batch, _COMPRESSION) is not None


def _table(flatbuffer: pa.Buffer, table: int, number: int) -> int:
    """Return the position of the table to which a field of a table refers.

    Raises:
        ValueError: there is no such field.
    """
    field = _field(flatbuffer, table, number)
    if field is None:
        raise ValueError("not a block: a message has no content")
    (distance,) = struct.unpack_from("<I", flatbuffer, field)
    return field + int(distance)


def _field(flatbuffer: pa.Buffer, table: int, number: int) -> int | None:
    """Return the position of a field of a table; None if it is absent.

    A table begins with the distance back to the list of its fields (int32). The list has its size and the
    table's (uint16), then the distance of each field from the beginning of the table, 0 if absent (uint16).
    """
    (back,) = struct.unpack_from("<i", flatbuffer, table)
    (size,) = struct.unpack_from("<H", flatbuffer, table - back)
    entry = 4 + 2 * number
    (distance,) = struct.unpack_from("<H", flatbuffer, table - back + entry) if entry < size else (0,)
    return table + int(distance) if distance else None


def _require_types(schema: pa.Schema) -> None:
    """Check that the columns have the types that `write_block` gives them, before anything is read.

    Raises:
        ValueError: they have others.
    """
    for column in schema:
        values, type_ = column.type, column.type
        if isinstance(type_, pa.FixedShapeTensorType):
            values, type_ = type_.value_type, pa.fixed_shape_tensor(type_.value_type, type_.shape)
        expected = _FIXED.get(column.name) or _NUMBERS.get(column.name)
        if values != expected or column.type != type_:
            raise ValueError(f"not a block: {column.name} is {column.type}")
    possible = [sorted([*_FIXED, *kind.columns]) for kind in DEVICE_KINDS.values()]
    if sorted(schema.names) not in possible:
        raise ValueError(f"not a block: its columns are {', '.join(schema.names)}")


def rows_in_block(head: bytes, tail: bytes, size: int) -> int:
    """Return how many rows a block of `size` bytes has, given only the bytes at both its ends.

    An Arrow IPC file describes its columns at the end, and the length of its record batch before the data.
    What lies between reads as zeros and is not used.

    Raises:
        ValueError: the bytes are not a block.
    """
    if size > MAX_BLOCK_BYTES:  # what lies between the ends is made of zeros
        raise ValueError(f"not a block: it has {size} bytes")
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


def _states(column: pa.DictionaryArray) -> list[str | None]:
    """Return the state of each row. Equal states are one object: a text may be as long as the file."""
    states: list[str | None] = [*column.dictionary.to_pylist(), None]
    return [states[n] for n in column.indices.fill_null(len(states) - 1).to_pylist()]


def _array(column: pa.ChunkedArray) -> Array:
    chunk = column.combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):
        chunk = chunk.chunk(0)
    if isinstance(chunk.type, pa.FixedShapeTensorType):
        tensor: Array = chunk.to_numpy_ndarray()
        return tensor
    flat: Array = chunk.to_numpy(zero_copy_only=False)
    return flat
