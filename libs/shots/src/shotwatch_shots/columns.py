"""Columns of numbers: arrays in the code, lists in messages, bytes in documents.

No conversion changes a value silently.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from shotwatch_shots.message import Message

Column = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class _Codec:
    """The codec of a column of a message: an array of this type, written as a list of these items."""

    dtype: str
    items: CoreSchema

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        listed = core_schema.list_schema(self.items)
        from_list = core_schema.no_info_after_validator_function(self._from_list, listed)
        from_array = core_schema.no_info_after_validator_function(
            self._from_array, core_schema.is_instance_schema(np.ndarray)
        )
        return core_schema.json_or_python_schema(
            json_schema=from_list,
            python_schema=core_schema.union_schema([from_array, from_list]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                np.ndarray.tolist, return_schema=listed
            ),
        )

    def _from_list(self, values: list[float | None]) -> Column:
        try:
            return _constant(np.array(values, self.dtype))
        except OverflowError as error:
            raise ValueError(f"a number does not fit into {self.dtype}") from error

    def _from_array(self, values: Column) -> Column:
        if values.ndim != 1:
            raise ValueError(f"a column has one dimension, not {values.ndim}")
        return _constant(checked_cast(values, self.dtype))


Integers = Annotated[NDArray[np.int64], _Codec("<i8", core_schema.int_schema())]
Flags = Annotated[NDArray[np.bool_], _Codec("?", core_schema.bool_schema())]
Numbers = Annotated[
    NDArray[np.float64], _Codec("<f8", core_schema.nullable_schema(core_schema.float_schema()))
]
"""Not finite numbers are null in messages; null is NaN."""


class Columnar(Message):
    """A message with columns. It equals another one if both are the same when they are sent."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Columnar) or type(other) is not type(self):
            return NotImplemented
        return self.model_dump_json() == other.model_dump_json()


def _constant(column: Column) -> Column:
    """Return the column protected from changes, like all that a message holds."""
    column.flags.writeable = False
    return column


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
