"""Mutants of valid snapshot files: what a recorder could have written, with a few things wrong.

A mutation is a small function in one of two lists: of the open file, or of its bytes. `mutant(seed)` picks a
few of both; the same seed gives the same mutant.
"""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5p, h5s, h5t, h5z

SNAPSHOT = "LA_Recorder01_100ms_snapshot_2022-07-01_07-33-00.h5"
IMAGES = "LA_images_2022-07-01.h5"
CAMERA = "LA_A1_11-Camera_1-Camera-1"
METER = "LA_A1_11-EM_1-EnergyMeter-1"
SPECTRO = "LA_A1_11-Spectro_1-Spectro-1"
DATASETS = ("STATE", "ROIImageLow", "energy1Corrected", "energy2Corrected", "intensityFitted")
RECORDS = 4

OfFile = Callable[[Random, h5py.File], None]
OfBytes = Callable[[Random, bytearray], bytearray]
of_file: list[OfFile] = []
of_bytes: list[OfBytes] = []


NOT_WRITTEN = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises at combinations that HDF5 does not write."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutated file, the key under which it arrives, and what was done to it."""

    key: str
    image: bytes
    mutations: tuple[str, ...]


def mutant(seed: int) -> Mutant:
    """Make the mutant of a seed."""
    random = Random(seed)
    key = random.choice([SNAPSHOT, SNAPSHOT, SNAPSHOT, IMAGES])
    changes = random.sample(of_file, random.choice([0, 1, 1, 2, 3]))
    damages = random.choices(of_bytes, k=random.choice([0, 0, 1]) if changes else random.choice([1, 2]))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=random.choice(["earliest", "earliest", "latest"])) as file:
        write_valid(random, file, key)
        for change in changes:
            with suppress(*NOT_WRITTEN):
                change(random, file)
    image = bytearray(buffer.getvalue().replace(PATH.encode(), b"/./"))
    for damage in damages:
        image = damage(random, image)
    return Mutant(key, bytes(image), tuple(each.__name__ for each in (*changes, *damages)))


def valid_file() -> bytes:
    """Make a snapshot file with nothing wrong."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_valid(Random(0), file, SNAPSHOT)
    return buffer.getvalue()


def write_valid(random: Random, file: h5py.File, key: str) -> None:
    """Write a few records as a recorder does."""
    frames = np.random.default_rng(random.randrange(1000)).integers(100, 4000, (RECORDS, 102, 128), np.uint16)
    for n in range(RECORDS):
        time = f"07-33-00-{100 * n:03d}"
        if key == IMAGES:
            file.create_dataset(f"IMAGES/DTG_1/{time}", data=frames[n], chunks=(102, 128), compression=1)
            continue
        for group in (CAMERA, METER, SPECTRO):
            file.create_group(f"{time}/{group}")["STATE"] = np.bytes_("ON")
        file[time][CAMERA].create_dataset("ROIImageLow", data=frames[n], chunks=(102, 128), compression=1)
        file[time][METER]["energy1Corrected"] = 1.0 + n
        file[time][METER]["energy2Corrected"] = 1.0 - n / 100
        file[time][SPECTRO]["intensityFitted"] = np.arange(2047) + float(n)


def a_group(random: Random, file: h5py.File) -> h5py.Group:
    """Any group of the file, its root among them."""
    groups: list[h5py.Group] = [file]
    file.visititems(lambda _, found: groups.append(found) if isinstance(found, h5py.Group) else None)
    return random.choice(groups)


def a_record(random: Random, file: h5py.File) -> tuple[h5py.Group, str]:
    """A group of datasets, and the name of a dataset in it or missing from it."""
    group = a_group(random, file)
    return group, random.choice([*group, *DATASETS])


def put(group: h5py.Group, name: str, make: Callable[[h5py.Group, bytes], Any]) -> None:
    """Replace what a group holds under a name."""
    if name in group.keys():  # noqa: SIM118  `in group` follows links
        del group[name]
    make(group, name.encode())


def dataset(
    group: h5py.Group, name: bytes, kind: h5t.TypeID, shape: tuple[int, ...], plist: Any = None
) -> h5d.DatasetID:
    space = h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)
    return h5d.create(group.id, name, kind, space, plist)


# names


PATH = "~~~"
"""In a name, it becomes `/./` when the file is written; h5py would take it for a path at once."""
OUTSIDE = ["/etc/passwd", "x.h5", "/dev/zero", "/proc/self/mem"]
NAMES = [
    *("..", f"..{PATH}x", f"{METER}{PATH}STATE", "\x7f", " ", "q" * 300, "<b>x</b>", f"{METER}-\udcff"),
    *(f"{CAMERA}\x1b[31m", f"{CAMERA}\u202e", f"{CAMERA}\n", f"{CAMERA}{'é' * 200}", "٠٧-٣٣-٠٠-٠٠٠"),
    *("LB_A1_11-Camera_1-Camera-1", "LA_XP_DI-Camera_9-Camera-9", "LA_A3_31-EM_1-EnergyMeter-1"),
    *("00-00-00-000", "23-59-59-999", "07-34-10-001", "07-32-50-000", "24-00-00-000", "07-33-00-1000"),
    *("07-33-00-000x", CAMERA, METER, "STATE", "IMAGES"),
]


@of_file.append
def name_something_else(random: Random, file: h5py.File) -> None:
    name = random.choice(NAMES).encode("utf-8", "surrogateescape")
    group = a_group(random, file)
    h5g.create(group.id, name)


@of_file.append
def name_a_path_outside(random: Random, file: h5py.File) -> None:
    """A hard link's name is a path that leads through an external link."""
    group = a_group(random, file)
    inner = group.require_group(METER)
    inner["e"] = h5py.ExternalLink(random.choice(OUTSIDE), "/x")
    group[f"{METER}{PATH}e"] = inner


@of_file.append
def name_many_groups(random: Random, file: h5py.File) -> None:
    group, shared = a_group(random, file), file.create_group(f"shared{random.random()}")
    pattern = random.choice(
        ["LA_A1_11-Camera_x{}-Camera-1", "LA_A1_11-Spectro_{}-Spectro", "07-33-{:02d}-001", "{}"]
    )
    for n in range(random.choice([10, 60, 300])):
        name = pattern.format(n)
        if name not in group:
            h5g.create(group.id, name.encode()) if random.random() < 0.5 else group.__setitem__(name, shared)


# links


@of_file.append
def link_softly(random: Random, file: h5py.File) -> None:
    target = random.choice(["/", ".", "/nowhere", f"/07-33-00-000/{CAMERA}", f"/07-33-00-000/{CAMERA}/STATE"])
    put(*a_record(random, file), lambda group, name: group.__setitem__(name.decode(), h5py.SoftLink(target)))


@of_file.append
def link_in_a_circle(random: Random, file: h5py.File) -> None:
    put(
        *a_record(random, file),
        lambda group, name: group.__setitem__(name.decode(), h5py.SoftLink(name.decode())),
    )


@of_file.append
def link_outside(random: Random, file: h5py.File) -> None:
    target = h5py.ExternalLink(random.choice(OUTSIDE), "/x")
    put(*a_record(random, file), lambda group, name: group.__setitem__(name.decode(), target))


@of_file.append
def link_hard(random: Random, file: h5py.File) -> None:
    """To any group: an ancestor, too."""
    target = a_group(random, file)
    put(*a_record(random, file), lambda group, name: group.__setitem__(name.decode(), target))


@of_file.append
def share_datasets(random: Random, file: h5py.File) -> None:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, each: found.append(each) if isinstance(each, h5py.Dataset) else None)
    if found:
        target = random.choice(found)
        put(*a_record(random, file), lambda group, name: group.__setitem__(name.decode(), target))


@of_file.append
def remove(random: Random, file: h5py.File) -> None:
    group, name = a_record(random, file)
    if name in group.keys():  # noqa: SIM118
        del group[name]


# types and values


def nonstandard_float(bits: int) -> h5t.TypeID:
    kind = h5t.IEEE_F64LE.copy()
    kind.set_fields(bits - 1, 8, bits - 9, 0, 8)
    kind.set_precision(bits)
    return kind


def nonstandard_integer(precision: int, offset: int) -> h5t.TypeID:
    kind = h5t.STD_U32LE.copy()
    kind.set_precision(precision)
    kind.set_offset(offset)
    return kind


def string(size: int | None) -> h5t.TypeID:
    kind = h5t.C_S1.copy()
    kind.set_size(h5t.VARIABLE if size is None else size)
    return kind


NUMBERS = ("u1", "i1", ">u2", "i4", "u8", ">i8", "f2", ">f8", "g", "c16", "V5", "(3,)u2")
TYPES: list[Callable[[], h5t.TypeID]] = [
    *(lambda dtype=dtype: h5t.py_create(np.dtype(dtype)) for dtype in NUMBERS),
    lambda: h5t.py_create(np.dtype([("r", "f8"), ("i", "(2,2)u2")])),
    lambda: h5t.py_create(h5py.enum_dtype({"ON": 0, "\x1b": 1, "x" * 5000: 2}, "i4"), logical=True),
    lambda: h5t.py_create(h5py.enum_dtype({f"S{n}": n for n in range(300)}, "i4"), logical=True),
    lambda: h5t.py_create(h5py.vlen_dtype(np.uint16), logical=True),
    lambda: h5t.py_create(h5py.ref_dtype, logical=True),
    lambda: h5t.py_create(h5py.regionref_dtype, logical=True),
    lambda: string(None),
    lambda: string(1),
    lambda: string(70_000),
    lambda: h5t.STD_B8LE,
    lambda: nonstandard_float(24),
    lambda: nonstandard_integer(7, 3),
    lambda: h5t.vlen_create(h5t.vlen_create(h5t.NATIVE_INT8)),
]
SHAPES: list[tuple[int, ...]] = [
    *((), (1,), (0,), (3,), (102, 128), (128, 102), (2047,), (102, 128, 1), (1,) * 32),
    *((1 << 31, 1 << 31), (1 << 40,)),
]


def storage(random: Random, shape: tuple[int, ...]) -> h5p.PropDCID:
    plist = h5p.create(h5p.DATASET_CREATE)
    way = random.choice(["plain", "compact", "chunked", "chunked", "filtered"])
    if way == "compact":
        plist.set_layout(h5d.COMPACT)
    elif way != "plain" and shape and all(shape):
        plist.set_chunk(tuple(random.choice([side, max(1, side // 2), 1]) for side in shape))
        if way == "filtered":
            for use in random.sample(FILTERS, random.choice([1, 2, 3])):
                use(plist)
    return plist


FILTERS: list[Callable[[Any], None]] = [
    lambda plist: plist.set_deflate(1),
    lambda plist: plist.set_shuffle(),
    lambda plist: plist.set_fletcher32(),
    lambda plist: plist.set_filter(h5z.FILTER_LZF, h5z.FLAG_OPTIONAL),
    lambda plist: plist.set_filter(32_000, h5z.FLAG_OPTIONAL, (1, 2, 3)),
    lambda plist: plist.set_scaleoffset(h5z.SO_INT, 0),
]


@of_file.append
def store_another_type_or_shape(random: Random, file: h5py.File) -> None:
    kind, shape = random.choice(TYPES)(), random.choice(SHAPES)
    plist = storage(random, shape)
    try:
        put(*a_record(random, file), lambda group, name: dataset(group, name, kind, shape, plist))
    except (OSError, RuntimeError, ValueError, TypeError):  # HDF5 does not write such a combination
        return


VALUES: list[Any] = [
    *(np.nan, np.inf, -np.inf, 1e308, np.longdouble("1e4000"), np.int64(-1), np.uint64(2**64 - 1), True),
    *(
        "ON",
        "O" * 65,
        "O" * 200_000,
        "ON\x1b[2J",
        "\u202eNO",
        "",
        np.bytes_(b"\xff\xfe"),
        np.bytes_("ON" * 50),
    ),
    *(np.array(["ON", "OFF"], object), h5py.Empty("f8"), h5py.Empty("S2"), np.zeros((102, 128)), 70_000),
    *(np.full((102, 128), 65535, "u2"), np.full((102, 128), -1, "i2")),
    *(np.full(2047, np.nan), np.full(2047, 1e300)),
]


@of_file.append
def store_another_value(random: Random, file: h5py.File) -> None:
    value = random.choice(VALUES)
    put(*a_record(random, file), lambda group, name: group.__setitem__(name.decode(), value))


@of_file.append
def state_a_hundred_things(random: Random, file: h5py.File) -> None:
    for n in range(100):
        record = file.require_group(f"07-33-{1 + n // 10:02d}-{100 * (n % 10):03d}/{SPECTRO}")
        put(
            record,
            "STATE",
            lambda group, name, n=n: group.__setitem__(name.decode(), f"S{random.random()}{n}"),
        )


@of_file.append
def enumerate_a_state(random: Random, file: h5py.File) -> None:
    kind = h5py.enum_dtype({"ON": 0, "OFF\x1b": 1, " ": 2}, random.choice(["i1", ">i8", "u4"]))
    value = random.choice([0, 1, 2, 3, 100])

    def make(group: h5py.Group, name: bytes) -> None:
        group.create_dataset(name.decode(), data=value, dtype=kind)

    put(a_group(random, file), "STATE", make)


# where data lie


@of_file.append
def store_outside(random: Random, file: h5py.File) -> None:
    def make(group: h5py.Group, name: bytes) -> None:
        where = random.choice(["/etc/passwd", "/dev/zero", "x.raw", "/proc/self/mem"])
        group.create_dataset(name.decode(), (102, 128), np.uint16, external=[(where, 0, h5py.h5f.UNLIMITED)])

    put(*a_record(random, file), make)


@of_file.append
def store_virtually(random: Random, file: h5py.File) -> None:
    def make(group: h5py.Group, name: bytes) -> None:
        layout = h5py.VirtualLayout((102, 128), np.uint16)
        layout[:] = h5py.VirtualSource(random.choice(["/etc/passwd", ".", "x.h5"]), "/x", (102, 128))
        group.create_virtual_dataset(name.decode(), layout)

    put(*a_record(random, file), make)


CHUNKS: list[Callable[[], bytes]] = [
    *(lambda: b"", lambda: b"not deflated", lambda: b"\x78\x9c\x03", lambda: zlib.compress(b"short")),
    lambda: zlib.compress(bytes(30 << 20)),
    lambda: zlib.compress(bytes(26112))[:-3],
    lambda: zlib.compress(bytes(26111)),
    lambda: zlib.compress(bytes(26113)),
]


@of_file.append
def spoil_a_chunk(random: Random, file: h5py.File) -> None:
    def make(group: h5py.Group, name: bytes) -> None:
        made = group.create_dataset(name.decode(), (102, 128), np.uint16, chunks=(102, 128), compression=1)
        made.id.write_direct_chunk((0, 0), random.choice(CHUNKS)(), random.choice([0, 0, 1, 2]))

    put(*a_record(random, file), make)


@of_file.append
def make_chunks_large(random: Random, file: h5py.File) -> None:
    def make(group: h5py.Group, name: bytes) -> None:
        side = random.choice([1 << 10, 1 << 12, 1 << 14])
        group.create_dataset(
            name.decode(), (102, 128), np.uint16, chunks=(side, side), maxshape=(None, None), compression=1
        )

    put(*a_record(random, file), make)


# counts


@of_file.append
def write_many_records(random: Random, file: h5py.File) -> None:
    group = random.choice([CAMERA, METER, SPECTRO])
    for n in range(random.choice([100, 900])):
        file.require_group(f"07-33-{n // 1000:02d}-{n % 1000:03d}").require_group(group)


@of_file.append
def nest_deeply(random: Random, file: h5py.File) -> None:
    group = a_group(random, file)
    for _ in range(random.choice([20, 100])):
        group = group.require_group("07-33-00-000")


@of_file.append
def write_attributes(random: Random, file: h5py.File) -> None:
    group = a_group(random, file)
    for n in range(random.choice([1, 50])):
        group.attrs[f"a{n}"] = random.choice(["x" * 1000, np.zeros(3), np.nan, "\x1b"])


# bytes


@of_bytes.append
def flip_bits(random: Random, image: bytearray) -> bytearray:
    for _ in range(random.choice([1, 3, 20])):
        image[random.randrange(len(image))] ^= 1 << random.randrange(8)
    return image


@of_bytes.append
def flip_bits_in_headers(random: Random, image: bytearray) -> bytearray:
    """Within 200 bytes behind a signature of the format: its nodes, heaps and headers."""
    at = [i for mark in SIGNATURES for i in _every(mark, image)]
    for _ in range(random.choice([1, 3, 10])):
        place = min(random.choice(at) + random.randrange(200), len(image) - 1)
        image[place] = random.choice([0, 1, 0xFF, random.randrange(256)])
    return image


SIGNATURES = [
    b"TREE",
    b"SNOD",
    b"HEAP",
    b"GCOL",
    b"OHDR",
    b"OCHK",
    b"FRHP",
    b"FHDB",
    b"BTHD",
    b"BTLF",
    b"\x89HDF",
]


def _every(mark: bytes, image: bytearray) -> list[int]:
    found, at = [], image.find(mark)
    while at >= 0:
        found.append(at)
        at = image.find(mark, at + 1)
    return found


@of_bytes.append
def redirect_an_address(random: Random, image: bytearray) -> bytearray:
    """Let one address of a node or header be another's: trees get circles, datasets share headers."""
    at = [i for mark in SIGNATURES for i in _every(mark, image)]
    for _ in range(random.choice([1, 2, 5])):
        start = random.choice(at)
        slots = [i for i in range(start, min(start + 600, len(image) - 8)) if _is_address(image, i)]
        if slots:
            target = random.choice([*at, 0, len(image), len(image) - 8, 2**63])
            struct.pack_into("<Q", image, random.choice(slots), target)
    return image


def _is_address(image: bytearray, at: int) -> bool:
    (number,) = struct.unpack_from("<Q", image, at)
    return 0 < number < len(image)


@of_bytes.append
def enlarge_a_number(random: Random, image: bytearray) -> bytearray:
    """A size or a count: two, four or eight bytes of a header become large."""
    place = random.choice([i for mark in SIGNATURES for i in _every(mark, image)]) + random.randrange(4, 120)
    size = random.choice([2, 4, 8])
    if place + size <= len(image):
        image[place : place + size] = random.choice([b"\xff", b"\x7f", b"\x00"]) * size
    return image


@of_bytes.append
def exchange_names(random: Random, image: bytearray) -> bytearray:
    """Names of the same length, which h5py would not write."""
    old = random.choice([CAMERA, METER, SPECTRO, "STATE", "07-33-00-100", "07-33-00-200", "DTG_1"]).encode()
    new = bytes(random.choice(b"/.\x00\x1b\xff\xe2A0-") if random.random() < 0.2 else c for c in old)
    twin = random.choice([new, b"07-33-00-000", CAMERA.encode()])
    return image.replace(old, twin if len(twin) == len(old) else new, random.choice([1, -1]))


@of_bytes.append
def cut(random: Random, image: bytearray) -> bytearray:
    return image[: random.randrange(len(image))]


@of_bytes.append
def append_bytes(random: Random, image: bytearray) -> bytearray:
    return image + random.randbytes(random.choice([1, 512, 100_000]))


@of_bytes.append
def prepend_bytes(random: Random, image: bytearray) -> bytearray:
    return bytearray(random.choice([512, 1024, 2048, 100])) + image


@of_bytes.append
def blank_a_block(random: Random, image: bytearray) -> bytearray:
    start = random.randrange(len(image))
    size = min(random.choice([8, 64, 1000]), len(image) - start)
    image[start : start + size] = random.choice([bytes(size), random.randbytes(size)])
    return image


@of_bytes.append
def repeat_a_block(random: Random, image: bytearray) -> bytearray:
    size = min(random.choice([64, 512, 4096]), len(image) // 2)
    source, target = random.randrange(len(image) - size), random.randrange(len(image) - size)
    image[target : target + size] = image[source : source + size]
    return image
