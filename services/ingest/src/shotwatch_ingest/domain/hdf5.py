"""The door to HDF5: a file's image in memory, read through h5py's low-level API and trusted in nothing.

Nothing outside the image is ever opened: soft, external and user-defined links are not followed, external
storage and virtual datasets are refused. Every object is opened relative to its parent, by one name that the
parent listed as a hard link and lists once. Sizes are checked before anything is allocated.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import NamedTuple, Self

import h5py
import numpy as np
from h5py import h5d, h5f, h5g, h5l, h5p, h5s, h5t
from numpy.typing import NDArray

from shotwatch_common.printable import printable
from shotwatch_shots.errors import Reject
from shotwatch_shots.vocabulary import FileReason, RecordReason

Array = NDArray[np.generic]

MAX_CHUNK_BYTES = 64 << 20
"""HDF5 decodes a chunk whole, however little of it is asked for."""
MAX_CHUNKS_BYTES = 1 << 30
"""Of the chunks of all datasets that HDF5 opens; many records may share one large chunk."""
MAX_VALUE_BYTES = 256
"""Of one number, or of one text of fixed length."""
MAX_ENUMERATED = 256
"""Names of an enumeration."""
MAX_NAMES = 250_000
"""Names listed of a file, in all its groups: enough for a minute of 90 devices at 10 Hz, or for a
day of two cameras at 1 Hz. A group of one name takes some 20 µs."""
_MAX_DETAIL = 200
"""Characters of a message; HDF5's own hold names from the file."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 96
HDF5_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError)
"""What h5py raises on files that HDF5 cannot read."""
_numbers = count()
"""HDF5 takes images of one name for one file, and shows the first to whoever opens the second."""
_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}
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


class Refused(Exception):
    """A group or dataset that is not read; `reason` is what that means for its record."""

    def __init__(self, reason: RecordReason, detail: str) -> None:
        self.reason = reason
        self.detail = printable(detail)[:_MAX_DETAIL]
        super().__init__(self.detail)


class Link(NamedTuple):
    """A name in a group, and what it leads to."""

    parent: "Link | None"
    """The group; None for the file's root."""
    name: bytes
    type: int
    address: int
    """Where in the image the object's header lies; only of hard links."""

    @property
    def is_hard(self) -> bool:
        return bool(self.type == h5l.TYPE_HARD)

    def require_hard(self) -> None:
        if not self.is_hard:
            what = _LINKS.get(self.type, "a user-defined link")
            raise Refused(RecordReason.DATA_MISSING, f"is {what}, which is not followed")
        if b"/" in self.name or self.name == b".":
            raise Refused(RecordReason.DATA_MISSING, "has a name that HDF5 would read as a path")

    def __str__(self) -> str:
        """The path of names, each cut to what a message can hold."""
        if self.parent is None:
            return "/"
        return f"{'' if self.parent.parent is None else self.parent}/{shown(self.name)}"


ROOT = Link(None, b"", h5l.TYPE_HARD, 0)


class Hdf5Image:
    """An open HDF5 file that lies in memory; a context manager that closes it.

    Raises:
        Reject: EMPTY, NOT_HDF5, TRUNCATED or UNREADABLE.
    """

    def __init__(self, key: str, image: bytes) -> None:
        self.key = key
        self.image = image
        self._file, self._root = _open(key, image)
        self._opened: tuple[Link, h5g.GroupID] | None = None
        self._names = 0
        self._chunks_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()

    def links(self, group: Link) -> dict[bytes, Link]:
        """Return what a group holds, by name.

        Raises:
            Refused: it is no group, lies behind a link that is not followed, or is damaged.
            Reject: TOO_LARGE, more than MAX_NAMES names were listed of the file.
        """
        group.require_hard()
        found: dict[bytes, Link] = {}
        room = MAX_NAMES - self._names
        surplus: list[bytes] = []

        def keep(name: bytes, info: h5l.LinkInfo) -> bool | None:
            """Return True at a name that is one too many: it ends the iteration, which bears no exception."""
            if name in found or len(found) == room:
                surplus.append(name)
                return True
            found[name] = Link(group, name, info.type, info.u)
            return None

        try:
            with _reading():
                if group.parent is None:
                    self._root.links.iterate(keep, info=True)
                else:
                    self._group(group.parent).links.iterate(keep, obj_name=group.name, info=True)
        finally:
            self._names += len(found)
        for name in surplus:
            if name in found:
                raise Refused(RecordReason.DATA_MISSING, f"lists {shown(name)} twice")
            raise Reject(FileReason.TOO_LARGE, f"{self.key}: {group}: the file has over {MAX_NAMES} names")
        return found

    def dataset(self, link: Link) -> h5d.DatasetID:
        """Open a dataset whose data lie in this file, in chunks that fit the memory.

        Raises:
            Refused: there is no such dataset here.
            Reject: TOO_LARGE, its chunks are, or those of all datasets so far.
        """
        link.require_hard()
        assert link.parent is not None
        with _reading():
            dataset = h5d.open(self._group(link.parent), link.name)
            creation = dataset.get_create_plist()
            layout = creation.get_layout()
            elsewhere = layout == h5d.VIRTUAL or creation.get_external_count() > 0
            chunk = creation.get_chunk() if layout == h5d.CHUNKED else ()
            size = math.prod(chunk) * dataset.get_type().get_size()
        if elsewhere:
            raise Refused(RecordReason.DATA_MISSING, "lies outside the file")
        self._chunks_bytes += size
        if size > MAX_CHUNK_BYTES or self._chunks_bytes > MAX_CHUNKS_BYTES:
            raise Reject(
                FileReason.TOO_LARGE,
                f"{self.key}: {link}: its chunks are {size} bytes each, all so far {self._chunks_bytes}",
            )
        return dataset

    def _group(self, link: Link) -> h5g.GroupID:
        """Open a group relative to its parent. The last one stays open, as its other children come next."""
        if link.parent is None:
            return self._root
        if self._opened is None or self._opened[0] is not link:
            self._opened = link, h5g.open(self._group(link.parent), link.name)
        return self._opened[1]


def load_numbers(dataset: h5d.DatasetID, shape: tuple[int, ...], whole: bool) -> Array:
    """The numbers of a dataset in its own type; `shape` () means its first number, whatever its shape.

    Raises:
        Refused: it holds something else, or another shape; `whole` refuses real numbers too.
    """
    with _reading():
        kind = dataset.get_type()
    _require_class(kind, (h5t.INTEGER,) if whole else (h5t.INTEGER, h5t.FLOAT))
    with _reading():
        dtype = kind.dtype
    if not shape:
        return _first(dataset, dtype)
    with _reading():
        actual = dataset.shape
    if actual != shape:
        raise Refused(RecordReason.WRONG_SHAPE, f"is {_size(actual)}, not {_size(shape)}")
    numbers = np.empty(shape, dtype)
    with _reading():
        dataset.read(h5s.ALL, h5s.ALL, numbers)
    return numbers


def load_text(dataset: h5d.DatasetID) -> Array:
    """Return the first text of a dataset (shape (1,)), or the name of its first enumerated value.

    Raises:
        Refused: it holds no text, or a value that its enumeration does not name.
    """
    with _reading():
        kind = dataset.get_type()
    _require_class(kind, (h5t.STRING, h5t.ENUM))
    if kind.get_class() == h5t.ENUM:
        return _first_name(dataset, kind)
    with _reading():
        if not kind.is_variable_str():
            return _first(dataset, kind.dtype)
    # Read with the dataset's own type, text of variable length crashes the process.
    return _first(dataset, np.dtype(object), h5t.py_create(h5py.string_dtype()))


def shown(name: bytes) -> str:
    """Return a name from a file as a message shows it: printable, on one line, and not too long."""
    text = printable(name[:_MAX_DETAIL].decode(errors="backslashreplace"))
    return text if len(name) <= 80 else f"{text[:60]}… ({len(name)} bytes)"


def _open(key: str, image: bytes) -> tuple[h5f.FileID, h5g.GroupID]:
    """The file and its root group."""
    if not image:
        raise Reject(FileReason.EMPTY, f"{key}: is empty")
    if not _has_signature(image):
        raise Reject(FileReason.NOT_HDF5, f"{key}: does not begin as HDF5")
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    access.set_file_image(image)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    try:
        file = h5f.open(f"image {next(_numbers)}".encode(), h5f.ACC_RDONLY, fapl=access)
        return file, h5g.open(file, b"/")
    except HDF5_ERRORS as error:
        cut = len(image) < _SUPERBLOCK_BYTES or "truncated file" in str(error)
        reason = FileReason.TRUNCATED if cut else FileReason.UNREADABLE
        raise Reject(reason, f"{key}: /: cannot be opened: {error}") from error


def _has_signature(image: bytes) -> bool:
    """HDF5 begins at byte 0, or at 512, 1024, 2048 … behind a user block."""
    start = 0
    while start < len(image):
        if image.startswith(_SIGNATURE, start):
            return True
        start = max(512, 2 * start)
    return False


def _first(dataset: h5d.DatasetID, dtype: np.dtype[np.generic], memory: h5t.TypeID | None = None) -> Array:
    value = np.empty((1,), dtype)
    with _reading():
        space = dataset.get_space()
        empty = space.get_select_npoints() == 0
    if empty:
        raise Refused(RecordReason.DATA_MISSING, "is empty")
    with _reading():
        if dimensions := space.get_simple_extent_ndims():
            space.select_hyperslab((0,) * dimensions, (1,) * dimensions)
        dataset.read(h5s.create_simple((1,)), space, value, memory)
    return value


def _first_name(dataset: h5d.DatasetID, kind: h5t.TypeEnumID) -> Array:
    with _reading():
        count = kind.get_nmembers()
    if count > MAX_ENUMERATED:
        raise Refused(RecordReason.WRONG_TYPE, f"enumerates {count} names")
    with _reading():
        number = int(_first(dataset, kind.get_super().dtype, kind)[0])
        names = {kind.get_member_value(n): kind.get_member_name(n) for n in range(count)}
    if number not in names:
        raise Refused(RecordReason.WRONG_TYPE, f"is {number}, which its enumeration does not name")
    return np.array([names[number]], object)


def _require_class(kind: h5t.TypeID, classes: tuple[int, ...]) -> None:
    found = kind.get_class()
    if found not in classes:
        wanted = " or ".join(_TYPES[expected] for expected in classes)
        raise Refused(
            RecordReason.WRONG_TYPE, f"holds {_TYPES.get(found, 'something unknown')}, not {wanted}"
        )
    if kind.get_size() > MAX_VALUE_BYTES:
        raise Refused(RecordReason.WRONG_TYPE, f"holds values of {kind.get_size()} bytes")


def _size(shape: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, shape)) if shape else "a single value"


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except HDF5_ERRORS as error:
        raise Refused(RecordReason.DATA_MISSING, f"cannot be read: {error}") from error
