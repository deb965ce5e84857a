"""Reading a batch block by block, and combining the features of its parts."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.blocks import Array
from shotwatch_common.fetching import fetch_block
from shotwatch_common.store import ObjectStore
from shotwatch_physics.feature import Features
from shotwatch_shots.batch import ABSENT, Member, ShotsClosed
from shotwatch_shots.records import VALID, BlockRef
from shotwatch_shots.vocabulary import DeviceKind

Chosen = NDArray[np.bool_]
"""Whether each shot of a batch is chosen: (n,)."""


@dataclass(frozen=True, slots=True)
class Part:
    """The valid records of one member that lie in one block."""

    device: str
    kind: DeviceKind
    shots: NDArray[np.intp]
    """Indices of the batch's shots that have these records: (n,)."""
    arrays: Mapping[str, Array]
    """Column of the block → (n, ...)."""

    def only(self, chosen: Chosen) -> "Part":
        """Return the records of the chosen shots as copies, so that the memory of the block can be freed."""
        rows = np.flatnonzero(chosen[self.shots])
        return replace(self, shots=self.shots[rows], arrays={n: a[rows] for n, a in self.arrays.items()})


class Collected:
    """The features of a batch of n shots, combined from its parts."""

    def __init__(self, shots: int) -> None:
        self.columns: dict[str, Features] = {}
        """Device → features: one entry per shot, NaN where it was not measured."""
        self._shots = shots

    def add(self, part: Part, features: Features) -> None:
        columns = self.columns.setdefault(part.device, {})
        for name, values in features.items():
            columns.setdefault(name, np.full(self._shots, np.nan))[part.shots] = values


async def parts_of(
    batch: ShotsClosed, kinds: Collection[DeviceKind], chosen: Chosen, store: ObjectStore
) -> AsyncIterator[Part]:
    """Yield the valid records of the chosen shots, for devices of these kinds, one block at a time.

    Raises:
        BlockGone: a block no longer exists.
    """
    for member in batch.members:
        if member.kind in kinds:
            rows = np.array(member.row, np.intp)
            for ref, shots in _blocks_of(member, chosen):
                block = await fetch_block(store, ref)
                arrays = {name: _rows_of(array, rows[shots]) for name, array in block.arrays.items()}
                yield Part(member.device, member.kind, shots, arrays)


def _blocks_of(member: Member, chosen: Chosen) -> list[tuple[BlockRef, NDArray[np.intp]]]:
    """Return each block with the chosen shots whose valid record lies in it."""
    source = np.array(member.source)
    valid = chosen & (source != ABSENT) & (np.array(member.verdict) == VALID)
    found = ((ref, np.flatnonzero(valid & (source == n))) for n, ref in enumerate(member.blocks))
    return [(ref, shots) for ref, shots in found if len(shots)]


def _rows_of(array: Array, rows: NDArray[np.intp]) -> Array:
    """Return these rows: a view if they are all rows in their order, else a copy."""
    whole = len(rows) == len(array) and bool((np.diff(rows) == 1).all())
    return array if whole else array[rows]
