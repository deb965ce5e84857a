"""Loading of single datasets as numbers or texts, after checks of their types and sizes."""

import h5py
import numpy as np
from h5py import h5d, h5s, h5t
from numpy.typing import NDArray

from shotwatch_ingest.domain.hdf5.image import Unreadable, reading_hdf5
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
        if dimensions := space.get_simple_extent_ndims():
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
