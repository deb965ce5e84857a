"""Fast reading of datasets that repeat, without a call to HDF5 for each.

A snapshot holds thousands of datasets that differ only in where their data lie. Opening one of them takes
HDF5 longer than finding ten. HDF5 therefore reads only the first one. The object header of that dataset
becomes a header template: a pattern of bytes with a gap for the address of the data. A dataset whose header
matches has the same type, shape and filters, and its data lie at the address in the gap. HDF5 decides on the
first dataset, and reads every dataset that does not match.

Source: HDF5 File Format Specification 3.0: superblock version 0 (II.A), B-tree version 1 (III.A.1), object
header version 1 (IV.A.1.a), data layout message version 3 (IV.A.2.i).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from deflate import DeflateError, zlib_decompress
from h5py import h5d, h5p, h5t, h5z
from numpy.typing import NDArray

from shotwatch_ingest.domain.hdf5.image import HDF5_ERRORS, Hdf5Image, Link

Array = NDArray[np.generic]

_SUPERBLOCK = re.compile(rb"\x89HDF\r\n\x1a\n\0.{4}\x08\x08.{9}\0{8}", re.DOTALL)
"""Superblock of version 0, with addresses and lengths of 8 bytes, counted from the file's first byte."""
_HEADER_PREFIX = 16
_MESSAGE_PREFIX = 8
_LAYOUT = 0x8
_BESIDE_THE_DATA = {0x0, 0xC, 0xD, 0xE, 0x12}
"""Messages that do not describe the data: padding, attributes, comments, modification times."""
_CONTIGUOUS, _CHUNKED = 1, 2
_SHUFFLE, _DEFLATE = h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE
_PIPELINES = {(), (_SHUFFLE,), (_DEFLATE,), (_SHUFFLE, _DEFLATE)}
_ADDRESS_AT = {_CONTIGUOUS: 2, _CHUNKED: 3}
_MAX_HEADER_BYTES = 4096
"""Maximum size of a header that becomes a template; recorders write about 300 bytes."""
_SPARE_BYTES = 64
"""Maximum number of bytes that deflate adds to short data."""


class Repeated:
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
            array = self._template.read(self._file.image, link.address)
            if array is not None:
                return array
        dataset = self._file.dataset(link)
        array = self._load(dataset)
        if self._template is None:
            self._template = make_template(self._file.image, link.address, dataset, array)
        return array


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """The common storage of the datasets that have the same header."""

    header: re.Pattern[bytes]
    chunk_index: re.Pattern[bytes] | None
    """The B-tree of a dataset with one chunk; None if the data are contiguous."""
    shuffled: bool
    deflated: bool
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    def read(self, image: bytes, address: int) -> Array | None:
        """Return the data of the dataset whose header lies at `address`; None if it does not match."""
        stored = self._stored(image, address)
        octets = _inflated(stored, self._size) if self.deflated else stored
        if len(octets) != self._size:
            return None
        values = _unshuffled(octets, self.dtype) if self.shuffled else np.frombuffer(octets, self.dtype)
        return values.reshape(self.shape)

    @property
    def _size(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)

    def _stored(self, image: bytes, address: int) -> bytes:
        header = _match(self.header, image, address)
        if header is None:
            return b""
        start = _number(header["address"])
        if self.chunk_index is None:
            return image[start : start + self._size]
        index = _match(self.chunk_index, image, start)
        if index is None:
            return b""
        start, size = _number(index["address"]), _number(index["size"])
        return image[start : start + size] if size <= 2 * self._size + _SPARE_BYTES else b""


def make_template(image: bytes, address: int, dataset: h5d.DatasetID, loaded: Array) -> HeaderTemplate | None:
    """Return the template of a dataset that HDF5 has loaded, or None if its storage is not supported.

    The template is accepted only if it yields the same bytes as HDF5.
    """
    try:
        template = _cut(image, address, dataset, loaded)
    except HDF5_ERRORS:
        return None
    again = template.read(image, address) if template else None
    return template if again is not None and again.tobytes() == loaded.tobytes() else None


def _cut(image: bytes, address: int, dataset: h5d.DatasetID, loaded: Array) -> HeaderTemplate | None:
    header = _header_pattern(image, address)
    creation = dataset.get_create_plist()
    filters = _filters(creation, loaded.dtype)
    if header is None or filters not in _PIPELINES or not _is_stored_as(dataset.get_type(), loaded.dtype):
        return None
    index = None
    if creation.get_layout() == h5d.CHUNKED:
        if creation.get_chunk() != dataset.shape:
            return None
        index = _chunk_index_pattern(len(dataset.shape))
    return HeaderTemplate(header, index, _SHUFFLE in filters, _DEFLATE in filters, loaded.dtype, loaded.shape)


def _header_pattern(image: bytes, address: int) -> re.Pattern[bytes] | None:
    """Return an object header with gaps for the address of the data and for messages not about the data.

    Return None if the superblock or the header is not supported.
    """
    if not _SUPERBLOCK.match(image):
        return None
    at = address + _HEADER_PREFIX
    size = _number(image[address + 8 : address + 12])
    if size > _MAX_HEADER_BYTES:
        return None
    end = at + size
    pattern = re.escape(image[address:at])
    while at < end:
        body = at + _MESSAGE_PREFIX
        following = body + _number(image[at + 2 : at + 4])
        pattern += re.escape(image[at:body])
        pattern += _message_pattern(_number(image[at : at + 2]), image[body:following])
        at = following
    return re.compile(pattern, re.DOTALL) if b"?P<address>" in pattern else None


def _message_pattern(kind: int, body: bytes) -> bytes:
    if kind in _BESIDE_THE_DATA:
        return b".{%d}" % len(body)
    if kind == _LAYOUT and body[:1] == b"\x03" and body[1] in _ADDRESS_AT:
        hole = _ADDRESS_AT[body[1]]
        return re.escape(body[:hole]) + b"(?P<address>.{8})" + re.escape(body[hole + 8 :])
    return re.escape(body)


def _chunk_index_pattern(dimensions: int) -> re.Pattern[bytes]:
    """Return the pattern of a leaf without siblings: one chunk, at the origin, with all filters applied."""
    leaf = rb"TREE\x01\x00\x01\x00\xff{16}(?P<size>.{4})\x00{4}\x00{%d}(?P<address>.{8})"
    return re.compile(leaf % (8 * (dimensions + 1)), re.DOTALL)


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


def _match(pattern: re.Pattern[bytes], image: bytes, at: int) -> re.Match[bytes] | None:
    return pattern.match(image, at) if at < len(image) else None


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


def _inflated(octets: bytes, size: int) -> bytes | bytearray:
    """Return `size` decompressed bytes at most; none if the stream is damaged or longer.

    libdeflate is given a buffer of `size` bytes. It verifies the stream's Adler-32, and takes a third of the
    time of zlib.
    """
    try:
        return zlib_decompress(octets, size)
    except DeflateError:
        return b""


def _unshuffled(octets: bytes | bytearray, dtype: np.dtype[np.generic]) -> Array:
    """Undo HDF5's shuffle: first bytes of all values, then second bytes, …"""
    planes = np.frombuffer(octets, np.uint8).reshape(dtype.itemsize, -1)
    values = np.empty(planes.shape[::-1], np.uint8)
    for n, plane in enumerate(planes):
        values[:, n] = plane
    return values.view(dtype)
