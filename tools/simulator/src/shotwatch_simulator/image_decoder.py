"""The decoder: a disposable process that decodes image files of unknown origin, one after the other.

`image_reader` starts it as `python -m shotwatch_simulator.image_decoder` and writes one path (JSON) per line.
The answer is one line of JSON, `{"frames": [[height, width, dtype], …]}` and after it the pixels, or
`{"refused": reason}`. The decoder gets no secrets. It limits its own memory and the time for each file, so
that a file that exceeds them, or crashes a library, ends only this process.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy  # its submodules load at their first use, because they are slow to import
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError

from shotwatch_common.printable import printable
from shotwatch_simulator.images import (
    MEMORY_BYTES,
    MOST_PIXELS,
    SECONDS_PER_FILE,
    NotAnImage,
    Picture,
    checked,
    described,
    frames_of,
    frames_of_matlab,
    luminance,
    require_few,
    require_numbers,
)

LONGEST_REASON = 300
"""In characters."""

_MOST_LISTED = 5
_PIL_FORMATS = ("PNG", "PPM", "TIFF")
_TIFF_BITS, _TIFF_SAMPLE_FORMAT, _UNSIGNED = 258, 339, 1
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MATLAB_7_3_HEADER = 512
"""Bytes before the HDF5 signature in a MAT file of version 7.3."""
_INTEGERS = {f"{prefix}int{bits}" for prefix in ("", "u") for bits in (8, 16, 32, 64)}
_NUMBERS_IN_MATLAB = {"double", "single"} | _INTEGERS
_NUMBERS_IN_HDF5 = {name.encode() for name in _NUMBERS_IN_MATLAB}

Matrices = Iterator[tuple[str, NDArray[Any]]]
"""Arrays of a MATLAB file by name, such as `data.img`."""


def main() -> None:
    """Answer one request after the other until the input ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    Image.MAX_IMAGE_PIXELS = None  # our own limit is lower
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries that print must not disturb the answers
    for request in sys.stdin:
        signal.alarm(SECONDS_PER_FILE)  # SIGALRM ends the process, even inside a library
        answers.writelines(answer(Path(json.loads(request))))
        answers.flush()
        signal.alarm(0)


def answer(path: Path) -> Iterator[bytes | memoryview]:
    """Yield the answer for a file in parts."""
    try:
        frames = [np.ascontiguousarray(frame, frame.dtype.newbyteorder("=")) for frame in decode(path)]
    except NotAnImage as error:
        yield _refusal(str(error))
    except MemoryError:
        yield _refusal(f"it needs more than {MEMORY_BYTES >> 30} GiB of memory")
    except Exception as error:  # noqa: BLE001  the edge of this process: libraries raise any exception
        yield _refusal(f"it cannot be decoded, {type(error).__name__}: {error}")
    else:
        yield _line({"frames": [[*frame.shape, frame.dtype.str] for frame in frames]})
        yield from (frame.data for frame in frames)


def _refusal(reason: str) -> bytes:
    return _line({"refused": printable(reason)[:LONGEST_REASON]})


def _line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def decode(path: Path) -> list[Picture]:
    """Return the frames of a file, of which there is at least one.

    Raises:
        NotAnImage: the file has another format, or its content is not an image.
        Exception: whatever a library raises on a damaged file.
    """
    match path.suffix.lower():
        case ".npy":
            return _decode_npy(path)
        case ".mat":
            return _decode_mat(path)
        case _:
            return list(_decode_pages(path))


def _decode_npy(path: Path) -> list[Picture]:
    with path.open("rb") as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(file)
        require_numbers(shape, dtype)
        file.seek(0)
        return frames_of(np.load(file, allow_pickle=False))


def _decode_pages(path: Path) -> Iterator[Picture]:
    """Yield each page of a PNG, PGM or TIFF file. PIL opens no other format, whatever the file's name is."""
    pixels = 0
    try:
        image = Image.open(path, formats=_PIL_FORMATS)
    except UnidentifiedImageError as error:
        raise NotAnImage("it is not a PNG, PGM or TIFF file") from error
    with image:
        for page in ImageSequence.Iterator(image):
            pixels += page.width * page.height
            if pixels > MOST_PIXELS:
                raise NotAnImage(
                    f"pages up to {page.height} x {page.width} px have more than {MOST_PIXELS:,} values"
                )
            yield checked(_grey(page))


def _grey(page: Image.Image) -> Picture:
    match page.mode:
        case "L" | "F" | "I;16" | "I;16B" | "I;16L":
            return np.array(page)
        case "I":
            return np.array(page).view(np.uint32 if _is_uint32(page) else np.int32)
        case "1":
            raise NotAnImage(f"{page.height} x {page.width} px of one bit are not an image")
        case "LA":
            return np.array(page.getchannel(0))
        case _:
            return luminance(np.array(page.convert("RGB")))


def _is_uint32(page: Image.Image) -> bool:
    """Return whether the pixels are unsigned 32-bit integers, which PIL interprets as signed ones."""
    tags = getattr(page, "tag_v2", {})
    return tags.get(_TIFF_BITS) == (32,) and tags.get(_TIFF_SAMPLE_FORMAT, (_UNSIGNED,)) == (_UNSIGNED,)


def _decode_mat(path: Path) -> list[Picture]:
    """Return the frames of the largest matrix of real numbers in a MATLAB file, also in structures and cells.

    Masks, complex matrices, rows and columns are not images.

    Raises:
        NotAnImage: there is no such matrix, or several have the size of the largest.
    """
    found = dict(_matrices(path))
    images = {
        name: array for name, array in found.items() if array.dtype.kind in "uif" and min(array.shape[:2]) > 1
    }
    if not images:
        held = [f"{name} {described(array.shape, array.dtype)}" for name, array in found.items()]
        raise NotAnImage(f"it has no matrix of real numbers, but {_listed(held) or 'nothing'}")
    most = max(array.size for array in images.values())
    largest = [name for name, array in images.items() if array.size == most]
    if len(largest) > 1:
        raise NotAnImage(f"{_listed(largest)} are of the same size, and each can be the image")
    [name] = largest
    try:
        return frames_of_matlab(images[name])
    except NotAnImage as error:
        raise NotAnImage(f"{name}: {error}") from error


def _matrices(path: Path) -> Matrices:
    with path.open("rb") as file:
        start = file.read(_MATLAB_7_3_HEADER + len(_HDF5_SIGNATURE))
    if _HDF5_SIGNATURE in (start[:8], start[_MATLAB_7_3_HEADER:]):
        with h5py.File(path) as hdf5:
            yield from _hdf5_matrices(hdf5)
        return
    for name, shape, kind in scipy.io.whosmat(path):
        if kind in _NUMBERS_IN_MATLAB:
            require_few(shape, f"{kind} ({name})")
    # mat_dtype keeps the types that doubles and masks had in MATLAB, but drops imaginary parts.
    as_in_matlab = dict(_inside("", scipy.io.loadmat(path, mat_dtype=True)))
    for name, stored in _inside("", scipy.io.loadmat(path)):
        yield name, stored if stored.dtype.kind == "c" else as_in_matlab[name]


def _inside(name: str, value: object) -> Matrices:
    """Yield the matrices in a file or a variable: itself, or the content of its fields or cells."""
    if isinstance(value, dict):
        for variable, held in value.items():
            yield from _inside(variable, held)
    elif not isinstance(value, np.ndarray):
        return
    elif value.dtype.names:
        for field in value.dtype.names:
            yield from _inside(f"{name}.{field}", value[field])
    elif value.dtype == object:
        for number, item in enumerate(value.flat, 1):
            yield from _inside(name if value.size == 1 else f"{name}{{{number}}}", item)
    elif value.dtype.kind in "uifcb":
        yield name, value


def _hdf5_matrices(group: h5py.Group) -> Matrices:
    """Yield the matrices of a MAT file of version 7.3; MATLAB stores them with their axes in reverse order.

    Links are not followed and data in other files is not read. Cells, which are references, are left out.
    """
    found: list[h5py.Dataset] = []
    group.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    for dataset in found:
        name = dataset.name.strip("/").replace("/", ".")
        if dataset.attrs.get("MATLAB_class") not in _NUMBERS_IN_HDF5 or dataset.ndim < 2:
            continue
        if dataset.external or dataset.is_virtual:
            raise NotAnImage(f"{name} refers to another file")
        require_few(dataset.shape, f"{dataset.dtype} ({name})")
        yield name, dataset[()].T


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    main()
