"""Access to HDF5: a file's image in memory, read through h5py's low-level API. Its content is not trusted.

Nothing outside the image is ever opened: soft, external and user-defined links are not followed; external
storage and virtual datasets are refused. Every object is opened relative to its parent, by a name that the
parent lists exactly once, as a hard link. Sizes are checked before memory is allocated.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, product, repeat
from types import TracebackType
from typing import NamedTuple, Self

from deflate import DeflateError, zlib_decompress
from h5py import h5d, h5f, h5g, h5l, h5p, h5z

from shotwatch_common.printable import printable
from shotwatch_shots.errors import Reject
from shotwatch_shots.vocabulary import FileReason, RecordReason

MAX_CHUNK_BYTES = 64 << 20
"""Maximum size of a chunk. HDF5 decodes a chunk as a whole even if only a part of it is read."""
MAX_CHUNKS_BYTES = 1 << 30
"""Maximum total size of the chunks of all opened datasets; many records may share one large chunk."""
MAX_NAMES = 250_000
"""Maximum number of names listed from a file, in all its groups.

This is enough for a minute of 90 devices at 10 Hz, or for a day of two cameras at 1 Hz. Listing a group with
one name takes about 20 µs.
"""
_CHECKSUM_BYTES = 4
_MAX_DETAIL = 200
"""Maximum length of a message, in characters; messages of HDF5 contain names from the file."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 96
HDF5_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError)
"""Exceptions that h5py raises on files that HDF5 cannot read."""
_numbers = count()
"""Numbers for unique names of images.

HDF5 takes images with the same name for the same file: opening the second would return the first.
"""
_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}


class Unreadable(Exception):
    """A group or dataset that is not read; `reason` is the resulting problem of its record."""

    def __init__(self, reason: RecordReason, detail: str) -> None:
        self.reason = reason
        self.detail = printable(detail)[:_MAX_DETAIL]
        super().__init__(self.detail)


class Link(NamedTuple):
    """A name in a group, and the object that it links to."""

    parent: "Link | None"
    """The group; None for the file's root."""
    name: bytes
    type: int
    address: int
    """Address of the object's header in the image; only for hard links."""

    @property
    def is_hard(self) -> bool:
        return bool(self.type == h5l.TYPE_HARD)

    @property
    def depth(self) -> int:
        """Number of steps from the file's root."""
        return 0 if self.parent is None else 1 + self.parent.depth

    def require_hard(self) -> None:
        if not self.is_hard:
            what = _LINKS.get(self.type, "a user-defined link")
            raise Unreadable(RecordReason.DATA_MISSING, f"is {what}, which is not followed")
        if b"/" in self.name or self.name == b".":
            raise Unreadable(RecordReason.DATA_MISSING, "has a name that HDF5 would read as a path")

    def __str__(self) -> str:
        """Return the path of names, each shortened to fit into a message."""
        if self.parent is None:
            return "/"
        return f"{'' if self.parent.parent is None else self.parent}/{shown(self.name)}"


ROOT = Link(None, b"", h5l.TYPE_HARD, 0)


class Hdf5Image:
    """An open HDF5 file in memory; a context manager that closes it.

    Raises:
        Reject: EMPTY, NOT_HDF5, TRUNCATED or UNREADABLE.
    """

    def __init__(self, key: str, image: bytes) -> None:
        self.key = key
        self.image = image
        self._file, self._root = _open(key, image)
        self.names_left = MAX_NAMES
        """How many more names may be listed from the file."""
        self._opened: tuple[Link, h5g.GroupID] | None = None
        self._chunks_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()

    def links(self, group: Link) -> dict[bytes, Link]:
        """Return the links in a group, by name.

        Raises:
            Unreadable: it is not a group, lies behind a link that is not followed, or is damaged.
            Reject: TOO_LARGE, more than MAX_NAMES names were listed from the file.
        """
        group.require_hard()
        found: dict[bytes, Link] = {}
        surplus: list[bytes] = []

        def keep(name: bytes, info: h5l.LinkInfo) -> bool | None:
            """Return True at a surplus name: this ends the iteration, in which no exception may be raised."""
            if name in found or len(found) == self.names_left:
                surplus.append(name)
                return True
            found[name] = Link(group, name, info.type, info.u)
            return None

        try:
            with reading_hdf5():
                if group.parent is None:
                    self._root.links.iterate(keep, info=True)
                else:
                    self._group(group.parent).links.iterate(keep, obj_name=group.name, info=True)
        finally:
            self.names_left -= len(found)
        for name in surplus:
            if name in found:
                raise Unreadable(RecordReason.DATA_MISSING, f"lists {shown(name)} twice")
            raise Reject(FileReason.TOO_LARGE, f"{self.key}: {group}: the file has over {MAX_NAMES} names")
        return found

    def dataset(self, link: Link) -> h5d.DatasetID:
        """Open a dataset whose data lie in this file, in chunks that fit into memory.

        Raises:
            Unreadable: there is no such dataset here.
            Reject: TOO_LARGE, its chunks are too large, or those of all datasets so far.
        """
        link.require_hard()
        assert link.parent is not None
        with reading_hdf5():
            dataset = h5d.open(self._group(link.parent), link.name)
            creation = dataset.get_create_plist()
            layout = creation.get_layout()
            elsewhere = layout == h5d.VIRTUAL or creation.get_external_count() > 0
            chunk = creation.get_chunk() if layout == h5d.CHUNKED else ()
            size = math.prod(chunk) * dataset.get_type().get_size()
        if elsewhere:
            raise Unreadable(RecordReason.DATA_MISSING, "lies outside the file")
        self._chunks_bytes += size
        if size > MAX_CHUNK_BYTES or self._chunks_bytes > MAX_CHUNKS_BYTES:
            raise Reject(
                FileReason.TOO_LARGE,
                f"{self.key}: {link}: its chunks are {size} bytes each, all so far {self._chunks_bytes}",
            )
        return dataset

    def _group(self, link: Link) -> h5g.GroupID:
        """Open a group relative to its parent. The last group stays open for its other children."""
        if link.parent is None:
            return self._root
        if self._opened is None or self._opened[0] is not link:
            self._opened = link, h5g.open(self._group(link.parent), link.name)
        return self._opened[1]


def require_whole_chunks(dataset: h5d.DatasetID, extent: tuple[int, ...]) -> None:
    """Verify that chunks within an extent from the origin yield their full size.

    HDF5 does not verify it: it leaves the rest of the data as memory was, with parts of earlier files in it.

    Raises:
        Unreadable: a chunk yields another size, or was filtered in a way of which the size is not known.
    """
    with reading_hdf5():
        creation = dataset.get_create_plist()
        filters = [creation.get_filter(n)[0] for n in range(creation.get_nfilters())]
        if creation.get_layout() != h5d.CHUNKED:
            return
        chunk = creation.get_chunk()
        size = math.prod(chunk) * dataset.get_type().get_size()
        for start in product(*map(range, repeat(0), extent, chunk)):
            info = dataset.get_chunk_info_by_coord(start)
            if not info.size:
                continue  # it was never written
            applied = [code for n, code in enumerate(filters) if not info.filter_mask >> n & 1]
            full = _size_without(applied, dataset.read_direct_chunk(start)[1], size) if applied else info.size
            if full != size:
                raise ValueError("a chunk does not have its full size")


def _size_without(filters: Sequence[int], octets: bytes | bytearray, limit: int) -> int:
    """Return the size of a chunk after its filters are undone.

    Raises:
        ValueError: the chunk is damaged, has more than `limit` bytes, or has a filter that is not supported.
    """
    for code in reversed(filters):
        if code == h5z.FILTER_DEFLATE:
            octets = inflated(octets, limit + _CHECKSUM_BYTES)
        elif code == h5z.FILTER_FLETCHER32:
            octets = octets[:-_CHECKSUM_BYTES]
        elif code != h5z.FILTER_SHUFFLE:
            raise ValueError(f"the filter {code} is not supported")
    return len(octets)


def inflated(octets: bytes | bytearray, size: int) -> bytearray:
    """Return `size` decompressed bytes at most.

    libdeflate is given a buffer of `size` bytes. It verifies the stream's Adler-32, and takes a third of the
    time of zlib.

    Raises:
        ValueError: the stream is damaged or longer.
    """
    try:
        return zlib_decompress(octets, size)
    except DeflateError:
        raise ValueError("a compressed chunk is damaged, or larger than it may be") from None


def shown(name: bytes) -> str:
    """Return a name from a file as shown in messages: printable, on one line, and of limited length."""
    text = printable(name[:_MAX_DETAIL].decode(errors="backslashreplace"))
    return text if len(name) <= 80 else f"{text[:60]}… ({len(name)} bytes)"


def _open(key: str, image: bytes) -> tuple[h5f.FileID, h5g.GroupID]:
    """Open the image, and return the file and its root group.

    Raises:
        Reject: EMPTY, NOT_HDF5, TRUNCATED or UNREADABLE.
    """
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
    """Return whether there is an HDF5 signature at byte 0, or at 512, 1024, 2048 … after a user block."""
    start = 0
    while start < len(image):
        if image.startswith(_SIGNATURE, start):
            return True
        start = max(512, 2 * start)
    return False


@contextmanager
def reading_hdf5() -> Iterator[None]:
    """Turn an exception of h5py into Unreadable."""
    try:
        yield
    except HDF5_ERRORS as error:
        raise Unreadable(RecordReason.DATA_MISSING, f"cannot be read: {error}") from error
