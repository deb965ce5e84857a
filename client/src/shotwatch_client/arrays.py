"""NumPy files as the server sends them. Their sizes are compared before anything is allocated."""

import io
import zipfile
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

Array = NDArray[Any]


def read_npy(data: bytes) -> Array:
    """Return the array of a NumPy file, as a view of its bytes that cannot be written to.

    Raises:
        ValueError: it is not such a file, its length is not that of its array, or it holds Python objects.
    """
    file = io.BytesIO(data)
    if npy_format.read_magic(file) != (1, 0):
        raise ValueError("not version 1.0 of the format NPY")
    shape, fortran, dtype = npy_format.read_array_header_1_0(file)
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError("its length is not that of its array")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")


def read_npz(data: bytes, names: tuple[str, ...], most_bytes: int) -> tuple[Array, ...]:
    """Return arrays of a NumPy archive.

    Raises:
        ValueError: it is not such an archive, lacks one of the names, or has more than `most_bytes` unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(each.file_size for each in archive.infolist()) > most_bytes:
                raise ValueError("it is larger than what was asked for")
            return tuple(read_npy(archive.read(f"{name}.npy")) for name in names)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not an archive of the arrays {', '.join(names)}: {error}") from error
