"""The data of a batch of shots, read from its blocks, and what is computed from them."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.block import Array
from shotwatch_common.fetching import fetch_block
from shotwatch_common.store import ObjectStore
from shotwatch_shots.batch import Indices, Mask, Member
from shotwatch_shots.device_kinds import DeviceKind

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Readings:
    """The data of the valid records of one member that lie in one block."""

    device: str
    kind: DeviceKind
    shots: Indices
    """The batch's shots that have these records: (n,)."""
    arrays: Mapping[str, Array]
    """Column of the block → (n, ...)."""

    def slices(self, size: int) -> "Iterator[Readings]":
        """Yield the readings of up to `size` shots at a time, as views."""
        for start in range(0, len(self.shots), size):
            part = slice(start, start + size)
            yield replace(self, shots=self.shots[part], arrays={n: a[part] for n, a in self.arrays.items()})

    def only(self, chosen: Mask) -> "Readings":
        """Return the readings of the chosen shots as copies, so that the memory of the block can be freed."""
        rows = np.flatnonzero(chosen[self.shots])
        return replace(self, shots=self.shots[rows], arrays={n: a[rows] for n, a in self.arrays.items()})


class Collected:
    """Named numbers of each device in a batch of n shots, collected from its readings."""

    def __init__(self, shots: int) -> None:
        self.columns: dict[str, dict[str, Values]] = {}
        """Device → name → one value per shot, NaN where there is none."""
        self._shots = shots

    def add(self, readings: Readings, named: Mapping[str, Values]) -> None:
        """Add the numbers of the shots that have these readings."""
        columns = self.columns.setdefault(readings.device, {})
        for name, values in named.items():
            columns.setdefault(name, np.full(self._shots, np.nan))[readings.shots] = values


async def readings_of(
    members: Iterable[Member], store: ObjectStore, chosen: Mask | None = None
) -> AsyncIterator[Readings]:
    """Yield the data of the members' valid records, one block at a time; of the chosen shots, or of all.

    Raises:
        BlockGone: a block no longer exists.
    """
    for member in members:
        valid = member.valid if chosen is None else member.valid & chosen
        for ref, shots in member.by_block(valid):
            arrays = _rows_of_all((await fetch_block(store, ref)).arrays, member.row[shots])
            yield Readings(member.device, member.kind, shots, arrays)


def _rows_of_all(arrays: Mapping[str, Array], rows: NDArray[np.int64]) -> Mapping[str, Array]:
    return {name: _rows_of(array, rows) for name, array in arrays.items()}


def _rows_of(array: Array, rows: NDArray[np.int64]) -> Array:
    """Return these rows: a view if they are all rows in their order, else a copy."""
    whole = len(rows) == len(array) and bool((np.diff(rows) == 1).all())
    return array if whole else array[rows]
