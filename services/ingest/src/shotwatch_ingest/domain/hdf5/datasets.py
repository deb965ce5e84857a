"""Loading of datasets as numbers or texts: by HDF5 after checks of their types and sizes, or by a template.

A header template is the object header of a dataset that HDF5 has loaded. A dataset whose header matches has
the same type, shape and filters, and its data lie at the address in the gap.

Source: HDF5 File Format Specification 3.0: B-tree version 1 (III.A.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z
from numpy.typing import NDArray

from shotwatch_ingest.domain.hdf5.image import (
    HDF5_ERRORS,
    Hdf5Image,
    Link,
    Unreadable,
    inflated,
    reading_hdf5,
    require_whole_chunks,
)
from shotwatch_ingest.domain.hdf5.structures import ADDRESS, Mismatch, Pattern, header_pattern
from shotwatch_shots.vocabulary import RecordReason

Array = NDArray[np.generic]

MAX_VALUE_BYTES = 256
"""Maximum size of one number, or of one text of fixed length."""
MAX_ENUMERATED = 256
"""Maximum number of names in an enumeration."""
_TYPES = {
    h5t.INTEGER: "whole numbers",
    h5t.FLOAT: "real numbers",
    h5t.STRING: "text",
    h5t.BITFIELD: "bit fields",
    h5t.OPAQUE: "opaque bytes",
    h5t.COMPOUND: "compounds",
    h5t.REFERENCE: "references",
    h5t.ENUM: "enumerated values",
    h5t.VLEN: "lists",
    h5t.ARRAY: "arrays",
}

_SHUFFLE, _DEFLATE = h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE
_PIPELINES = {(), (_SHUFFLE,), (_DEFLATE,), (_SHUFFLE, _DEFLATE)}
_SPARE_BYTES = 64
"""Maximum number of bytes that deflate adds to short data."""


class RepeatedDatasets:
    """The datasets of one name that repeat from record to record."""

    def __init__(self, file: Hdf5Image, load: Callable[[h5d.DatasetID], Array]) -> None:
        self._file = file
        self._load = load
        self._template: HeaderTemplate | None = None

    def read(self, link: Link) -> Array:
        """Return the array that `load` makes of a dataset; it may be read-only.

        Raises:
            Unreadable, Reject: as `Hdf5Image.dataset` and `load` do.
        """
        link.require_hard()
        if self._template is not None:
            try:
                return self._template.read(self._file.image, link.address)
            except ValueError:
                pass
        dataset = self._file.dataset(link)
        array = self._load(dataset)
        if self._template is None:
            self._template = header_template(self._file.image, link.address, dataset, array)
        return array


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """The common storage of the datasets that have the same header."""

    header: Pattern
    chunk_index: Pattern | None
    """The B-tree of a dataset with one chunk; None if the data are contiguous."""
    shuffled: bool
    deflated: bool
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    size: int
    """Of the data in memory, in bytes."""

    def read(self, image: bytes, address: int) -> Array:
        """Return the data of the dataset whose header lies at `address`.

        Raises:
            ValueError: it has another header or index, or its data are damaged or not of the expected size.
        """
        stored = self._stored(image, address)
        octets = inflated(stored, self.size) if self.deflated else stored
        if len(octets) != self.size:
            raise Mismatch
        values = _unshuffled(octets, self.dtype) if self.shuffled else np.frombuffer(octets, self.dtype)
        return values.reshape(self.shape)

    def _stored(self, image: bytes, address: int) -> bytes:
        (start,) = self.header.numbers(image, address)
        if self.chunk_index is None:
            return image[start : start + self.size]
        size, start = self.chunk_index.numbers(image, start)
        if size > 2 * self.size + _SPARE_BYTES:
            raise Mismatch
        return image[start : start + size]


def header_template(
    image: bytes, address: int, dataset: h5d.DatasetID, loaded: Array
) -> HeaderTemplate | None:
    """Return the template of a dataset that HDF5 has loaded, or None if its storage is not supported.

    The template is accepted only if it yields the same bytes as HDF5.
    """
    try:
        template = _cut_header(image, address, dataset, loaded)
        again = template.read(image, address)
    except HDF5_ERRORS:
        return None
    return template if again.tobytes() == loaded.tobytes() else None


def _cut_header(image: bytes, address: int, dataset: h5d.DatasetID, loaded: Array) -> HeaderTemplate:
    header = header_pattern(image, address)
    creation = dataset.get_create_plist()
    filters = _filters(creation, loaded.dtype)
    if filters not in _PIPELINES or not _is_stored_as(dataset.get_type(), loaded.dtype):
        raise Mismatch
    index = None
    if creation.get_layout() == h5d.CHUNKED:
        if creation.get_chunk() != dataset.shape:
            raise Mismatch
        index = _chunk_index_pattern(dataset.shape, loaded.itemsize)
    return HeaderTemplate(
        header, index, _SHUFFLE in filters, _DEFLATE in filters, loaded.dtype, loaded.shape, loaded.nbytes
    )


def _chunk_index_pattern(chunk: tuple[int, ...], value_bytes: int) -> Pattern:
    """Return the pattern of a leaf without siblings: one chunk, at the origin, with all filters applied.

    Its numbers are the size and the address of the chunk. The key after the chunk is where the next one would
    begin, counted in values, and in bytes of a value.
    """
    all_filters, origin = bytes(4), bytes(8 * (len(chunk) + 1))
    next_key = bytes(8) + b"".join(each.to_bytes(8, "little") for each in (*chunk, value_bytes))
    return Pattern([b"TREE\x01\x00\x01\x00" + b"\xff" * 16, "I", all_filters + origin, ADDRESS, next_key])


def _filters(creation: h5p.PropDCID, dtype: np.dtype[np.generic]) -> tuple[int, ...]:
    """Return the filters in order of writing; (-1,) if a shuffle has another value size than the dataset."""
    filters = [creation.get_filter(n) for n in range(creation.get_nfilters())]
    if any(code == _SHUFFLE and values[:1] != (dtype.itemsize,) for code, _, values, _ in filters):
        return (-1,)
    return tuple(code for code, *_ in filters)


def _is_stored_as(kind: h5t.TypeID, dtype: np.dtype[np.generic]) -> bool:
    """Return whether the bytes in the file are the bytes in memory."""
    if dtype.hasobject:
        return False
    return dtype.kind == "S" or bool(kind.equal(h5t.py_create(dtype)))


def _unshuffled(octets: bytes | bytearray, dtype: np.dtype[np.generic]) -> Array:
    """Undo HDF5's shuffle: first bytes of all values, then second bytes, …"""
    planes = np.frombuffer(octets, np.uint8).reshape(dtype.itemsize, -1)
    if len(planes) == 2:  # frames: NumPy computes on whole vectors, but copies bytes with gaps one by one
        pairs: NDArray[np.uint16] = planes[1].astype("<u2")
        pairs <<= 8
        pairs |= planes[0]
        return pairs.view(dtype)
    values = np.empty(planes.shape[::-1], np.uint8)
    for n, plane in enumerate(planes):
        values[:, n] = plane
    return values.view(dtype)


def load_numbers(dataset: h5d.DatasetID, shape: tuple[int, ...], whole: bool) -> Array:
    """Return the numbers of a dataset in its own type; `shape` () means its first number, whatever its shape.

    Raises:
        Unreadable: it holds another type, which with `whole` includes real numbers, or has another shape.
    """
    with reading_hdf5():
        kind = dataset.get_type()
    _require_class(kind, (h5t.INTEGER,) if whole else (h5t.INTEGER, h5t.FLOAT))
    with reading_hdf5():
        dtype = kind.dtype
    if not shape:
        return _first(dataset, dtype)
    with reading_hdf5():
        actual = dataset.shape
    if actual != shape:
        raise Unreadable(RecordReason.WRONG_SHAPE, f"is {_size(actual)}, not {_size(shape)}")
    require_whole_chunks(dataset, shape)
    numbers = np.empty(shape, dtype)
    with reading_hdf5():
        dataset.read(h5s.ALL, h5s.ALL, numbers)
    return numbers


def load_text(dataset: h5d.DatasetID) -> Array:
    """Return the first text of a dataset (shape (1,)), or the name of its first enumerated value.

    Raises:
        Unreadable: it holds no text, or a value that its enumeration does not name.
    """
    with reading_hdf5():
        kind = dataset.get_type()
    _require_class(kind, (h5t.STRING, h5t.ENUM))
    if kind.get_class() == h5t.ENUM:
        return _first_name(dataset, kind)
    with reading_hdf5():
        if not kind.is_variable_str():
            return _first(dataset, kind.dtype)
    # Text of variable length crashes the process if it is read with the dataset's own type.
    return _first(dataset, np.dtype(object), h5t.py_create(h5py.string_dtype()))


def _first(dataset: h5d.DatasetID, dtype: np.dtype[np.generic], memory: h5t.TypeID | None = None) -> Array:
    value = np.empty((1,), dtype)
    with reading_hdf5():
        space = dataset.get_space()
        empty = space.get_select_npoints() == 0
    if empty:
        raise Unreadable(RecordReason.DATA_MISSING, "is empty")
    with reading_hdf5():
        dimensions = space.get_simple_extent_ndims()
    require_whole_chunks(dataset, (1,) * dimensions)
    with reading_hdf5():
        if dimensions:
            space.select_hyperslab((0,) * dimensions, (1,) * dimensions)
        dataset.read(h5s.create_simple((1,)), space, value, memory)
    return value


def _first_name(dataset: h5d.DatasetID, kind: h5t.TypeEnumID) -> Array:
    with reading_hdf5():
        count = kind.get_nmembers()
    if count > MAX_ENUMERATED:
        raise Unreadable(RecordReason.WRONG_TYPE, f"enumerates {count} names")
    with reading_hdf5():
        number = int(_first(dataset, kind.get_super().dtype, kind)[0])
        names = {kind.get_member_value(n): kind.get_member_name(n) for n in range(count)}
    if number not in names:
        raise Unreadable(RecordReason.WRONG_TYPE, f"is {number}, which its enumeration does not name")
    return np.array([names[number]], object)


def _require_class(kind: h5t.TypeID, classes: tuple[int, ...]) -> None:
    found = kind.get_class()
    if found not in classes:
        wanted = " or ".join(_TYPES[expected] for expected in classes)
        raise Unreadable(
            RecordReason.WRONG_TYPE, f"holds {_TYPES.get(found, 'something unknown')}, not {wanted}"
        )
    if kind.get_size() > MAX_VALUE_BYTES:
        raise Unreadable(RecordReason.WRONG_TYPE, f"holds values of {kind.get_size()} bytes")


def _size(shape: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, shape)) if shape else "a single value"
