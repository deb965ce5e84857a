"""Conversion of columns of numbers to bytes, without a silent change of any value."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_cast(values: ArrayLike, dtype: str) -> NDArray[Any]:
    """Return the values as numbers of another type.

    Floats may lose digits, but may not become infinite.

    Raises:
        OverflowError: a value is outside the range of the type.
    """
    given = np.asarray(values)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = given.astype(dtype)
    is_float = cast.dtype.kind == "f"
    changed = np.isfinite(cast) != np.isfinite(given) if is_float else cast != given
    if changed.any():
        raise OverflowError(f"{given[changed].flat[0]} does not fit into {cast.dtype}")
    return cast


def pack(values: ArrayLike, dtype: str) -> bytes:
    """Return the values as bytes of this type.

    Raises:
        OverflowError: a value is outside the range of the type.
    """
    return checked_cast(values, dtype).tobytes()


def unpack_integers(data: bytes, count: int) -> NDArray[np.int64]:
    """Return `count` signed little-endian integers, packed with any width, (count,).

    Raises:
        ValueError: the bytes do not hold this number of integers.
    """
    if not count:
        return np.empty(0, np.int64)
    width, rest = divmod(len(data), count)
    if rest or width not in (1, 2, 4, 8):
        raise ValueError(f"{len(data)} bytes are not {count} integers")
    return np.frombuffer(data, f"<i{width}").astype(np.int64)
