"""Structures that repeat in a file: object headers and groups, recognised by their bytes.

A snapshot holds thousands of groups and datasets that differ only in where their content lies. Opening one of
them takes HDF5 longer than finding ten. HDF5 therefore reads only the first one. Its bytes become a template:
patterns with gaps for addresses. HDF5 decides on the first of each, and reads every one that does not match.

A group template holds the object header of a group, the B-tree and the symbol table nodes that order its
names, and the heap with the names. A group that matches lists the same names. The template of a dataset is in
`datasets`.

Source: HDF5 File Format Specification 3.0. The superblock of version 0 is in section II.A. Groups are in
III.A.1 (B-tree of version 1), III.B, III.C and III.D. Object headers of version 1 are in IV.A.1.a, and their
messages in IV.A.2.i and IV.A.2.r.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct, calcsize

from h5py import h5l

from shotwatch_ingest.domain.hdf5.image import Hdf5Image, Link

ADDRESS = LENGTH = "Q"
"""Gaps for numbers of 8 bytes."""


def skip(count: int) -> str:
    """Return the gap for bytes of any value."""
    return f"{count}x"


class Mismatch(ValueError):
    """The bytes at an address are not those of the pattern."""


class Pattern:
    """Fixed bytes, and gaps between them: formats of `struct`, for numbers or for bytes of any value."""

    __slots__ = ("_expected", "_fixed", "_numbers", "_size")

    def __init__(self, parts: Iterable[bytes | str]) -> None:
        expected: list[bytes] = []
        fixed, numbers = "<", "<"
        for part in parts:
            if isinstance(part, bytes):
                expected.append(part)
                fixed += f"{len(part)}s"
                numbers += skip(len(part))
            else:
                fixed += skip(calcsize("<" + part))
                numbers += part
        self._expected = tuple(expected)
        self._fixed, self._numbers = Struct(fixed), Struct(numbers)
        self._size = self._fixed.size

    def numbers(self, image: bytes, address: int) -> tuple[int, ...]:
        """Return the numbers in the gaps of the bytes that lie at an address.

        Raises:
            Mismatch: other bytes lie there, or the image ends before.
        """
        if address + self._size > len(image) or self._fixed.unpack_from(image, address) != self._expected:
            raise Mismatch
        return self._numbers.unpack_from(image, address)


_SUPERBLOCK = Pattern([b"\x89HDF\r\n\x1a\n\0", skip(4), b"\x08\x08", skip(1), "HH", skip(4), bytes(8)])
"""Version 0, with addresses and lengths of 8 bytes, counted from the file's first byte.

Its numbers are half the capacity of a group's symbol table nodes, and of its B-tree nodes.
"""
_PREFIX = Pattern([b"\x01", skip(7), "I", skip(4)])
_PREFIX_BYTES = 16
_MESSAGE = Pattern(["HH", skip(4)])
_MESSAGE_BYTES = 8
_LAYOUT = 0x8
_SYMBOL_TABLE = 0x11
_BESIDE_THE_DATA = {0x0, 0xC, 0xD, 0xE, 0x12}
"""Messages that do not describe the data: padding, attributes, comments, modification times."""
_ADDRESS_AT = {b"\x03\x01": 2, b"\x03\x02": 3}
"""Place of the address in data layout messages of version 3, for contiguous and for chunked data."""
_MAX_HEADER_BYTES = 4096
"""Maximum size of a header that becomes a pattern; recorders write about 300 bytes."""

_MAX_TEMPLATES = 16
"""Maximum number of groups of a file from which a template is made.

A recorder needs one for timestamps and one for each type of device.
"""
_MAX_NAMES = 500
"""Maximum number of names in a template; a timestamp lists 90 devices."""
_MAX_HEAP_BYTES = 64 << 10

_TREE = Pattern([b"TREE\0\0", "H", b"\xff" * 16])
"""A node that is leaf and root: without siblings. Its number counts the symbol table nodes."""
_TREE_BYTES = 24
_NODE = Pattern([b"SNOD\x01\0", "H"])
"""Its number counts the entries."""
_NODE_BYTES = 8
_ENTRY = Pattern([LENGTH, ADDRESS, "I", skip(20)])
"""Its numbers: where in the heap its name begins, where its object lies, and what follows that is cached."""
_ENTRY_BYTES = 40
_NOT_A_SOFT_LINK = {0, 1}
_HEAP = Pattern([b"HEAP" + bytes(4), LENGTH, skip(8), ADDRESS])
"""Its numbers are the size and the address of the names."""
_HEAP_BYTES = 24


class RepeatedGroups:
    """The groups of a file, of which many list the same names."""

    def __init__(self, file: Hdf5Image) -> None:
        self._file = file
        self._templates: defaultdict[int, list[GroupTemplate]] = defaultdict(list)
        """By the depth of their groups; those used last come first."""
        self._attempts_left = _MAX_TEMPLATES

    def links(self, group: Link) -> dict[bytes, Link]:
        """Return the links in a group, by name.

        Raises:
            Unreadable, Reject: as `Hdf5Image.links` does.
        """
        group.require_hard()
        templates = self._templates[group.depth]
        for n, template in enumerate(templates):
            if len(template.names) > self._file.names_left:
                continue
            try:
                found = template.links(self._file.image, group)
            except Mismatch:
                continue
            self._file.names_left -= len(found)
            templates.insert(0, templates.pop(n))
            return found
        found = self._file.links(group)
        if group.parent is not None and self._attempts_left:
            self._attempts_left -= 1
            if made := group_template(self._file.image, group, found):
                templates.insert(0, made)
        return found


@dataclass(frozen=True, slots=True)
class GroupTemplate:
    """The common structure of the groups that list the same names."""

    names: tuple[bytes, ...]
    header: Pattern
    tree: Pattern
    heap: Pattern
    heap_data: Pattern
    nodes: tuple[Pattern, ...]

    def links(self, image: bytes, group: Link) -> dict[bytes, Link]:
        """Return the links in a group, by name, in the order of the names.

        Raises:
            Mismatch: the group has another structure, or lists other names.
        """
        tree, heap = self.header.numbers(image, group.address)
        nodes = self.tree.numbers(image, tree)
        (heap_data,) = self.heap.numbers(image, heap)
        self.heap_data.numbers(image, heap_data)
        objects = [
            address for node, at in zip(self.nodes, nodes, strict=True) for address in node.numbers(image, at)
        ]
        return {
            name: Link(group, name, h5l.TYPE_HARD, address)
            for name, address in zip(self.names, objects, strict=True)
        }


def group_template(image: bytes, group: Link, listed: Mapping[bytes, Link]) -> GroupTemplate | None:
    """Return the template of a group that HDF5 has listed, or None if its structure is not supported.

    The template is accepted only if it yields the same links as HDF5.
    """
    try:
        template = _cut_group(image, group, tuple(listed))
        again = template.links(image, group)
    except ValueError:
        return None
    return template if again == listed else None


def _cut_group(image: bytes, group: Link, names: tuple[bytes, ...]) -> GroupTemplate:
    header = header_pattern(image, group.address)
    tree, heap = header.numbers(image, group.address)
    size, heap_data = _HEAP.numbers(image, heap)
    if size > _MAX_HEAP_BYTES or len(names) > _MAX_NAMES:
        raise Mismatch
    tree_pattern = _tree_pattern(image, tree)
    nodes = tree_pattern.numbers(image, tree)
    return GroupTemplate(
        names,
        header,
        tree_pattern,
        Pattern([image[heap : heap + _HEAP_BYTES], ADDRESS]),
        Pattern([image[heap_data : heap_data + size]]),
        tuple(_node_pattern(image, node) for node in nodes),
    )


def _tree_pattern(image: bytes, at: int) -> Pattern:
    """Return the pattern of a B-tree of one node; its numbers are the addresses of the symbol table nodes."""
    _, half_capacity = _SUPERBLOCK.numbers(image, 0)
    (count,) = _TREE.numbers(image, at)
    unused = 2 * half_capacity - count
    if count > _MAX_NAMES or unused < 0:
        raise Mismatch
    parts: list[bytes | str] = [image[at : at + _TREE_BYTES]]
    at += _TREE_BYTES
    for key in range(at, at + 16 * count, 16):
        parts += image[key : key + 8], ADDRESS
    last_key = at + 16 * count
    return Pattern([*parts, image[last_key : last_key + 8], skip(16 * unused)])


def _node_pattern(image: bytes, at: int) -> Pattern:
    """Return the pattern of a symbol table node; its numbers are the addresses of objects."""
    half_capacity, _ = _SUPERBLOCK.numbers(image, 0)
    (count,) = _NODE.numbers(image, at)
    unused = 2 * half_capacity - count
    if count > _MAX_NAMES or unused < 0:
        raise Mismatch
    parts: list[bytes | str] = [image[at : at + _NODE_BYTES]]
    at += _NODE_BYTES
    for entry in range(at, at + _ENTRY_BYTES * count, _ENTRY_BYTES):
        *_, cached = _ENTRY.numbers(image, entry)
        if cached not in _NOT_A_SOFT_LINK:
            raise Mismatch
        parts += image[entry : entry + 8], ADDRESS, image[entry + 16 : entry + 24], skip(16)
    return Pattern([*parts, skip(_ENTRY_BYTES * unused)])


def header_pattern(image: bytes, address: int) -> Pattern:
    """Return the pattern of the object header at an address, whose numbers are addresses.

    For a dataset this is the address of its data or of the index of its chunks; for a group, those of its
    B-tree and of its heap of names. Messages about other things may differ.

    Raises:
        Mismatch: the superblock or the header is of another version, or the header is too long.
    """
    _SUPERBLOCK.numbers(image, 0)
    (size,) = _PREFIX.numbers(image, address)
    if size > _MAX_HEADER_BYTES:
        raise Mismatch
    start = address + _PREFIX_BYTES
    return Pattern([image[address:start], *_messages(image, start, start + size)])


def _messages(image: bytes, at: int, end: int) -> Iterator[bytes | str]:
    while at < end:
        kind, size = _MESSAGE.numbers(image, at)
        body = at + _MESSAGE_BYTES
        following = body + size
        if kind in _BESIDE_THE_DATA:
            yield from (image[at:body], skip(size))
        elif kind == _SYMBOL_TABLE:
            yield from (image[at:body], ADDRESS, ADDRESS)
        elif kind == _LAYOUT and (place := _ADDRESS_AT.get(image[body : body + 2])):
            gap = body + place
            yield from (image[at:gap], ADDRESS, image[gap + 8 : following])
        else:
            yield image[at:following]
        at = following
