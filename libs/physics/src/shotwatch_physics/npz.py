"""Files of arrays as NumPy's `savez` writes them."""

import io
from zipfile import ZIP_STORED

import numpy as np
from numpy.lib.npyio import NpzFile


def open_npz(data: bytes) -> NpzFile:
    """Open an .npz file. A compressed one is refused, because its arrays may take any multiple of its size.

    Raises:
        ValueError: it is compressed, or holds objects.
        OSError, EOFError, BadZipFile: it is not such a file.
    """
    file = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(file, NpzFile) or file.zip is None:
        raise ValueError("a single array")
    if any(member.compress_type != ZIP_STORED for member in file.zip.infolist()):
        raise ValueError("it is compressed")
    return file
