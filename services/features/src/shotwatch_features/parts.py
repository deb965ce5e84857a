"""A batch's records block by block, and their features put together again."""

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
"""Whether each shot of a batch is meant: (n,)."""


@dataclass(frozen=True, slots=True)
class Part:
    """The valid records of one member that lie in one block."""

    device: str
    kind: DeviceKind
    shots: NDArray[np.intp]
    """Which shots of the batch have them: (n,)."""
    arrays: Mapping[str, Array]
    """Column of the block → (n, ...)."""

    def only(self, chosen: Chosen) -> "Part":
        """The records of some of the batch's shots, copied: the block need not stay in memory for them."""
        rows = np.flatnonzero(chosen[self.shots])
        return replace(self, shots=self.shots[rows], arrays={n: a[rows] for n, a in self.arrays.items()})


class Collected:
    """The features of a batch of n shots, put together from its parts."""

    def __init__(self, shots: int) -> None:
        self.columns: dict[str, Features] = {}
        """Device → features: one entry per shot, NaN where it has none."""
        self._shots = shots

    def add(self, part: Part, features: Features) -> None:
        columns = self.columns.setdefault(part.device, {})
        for name, values in features.items():
            columns.setdefault(name, np.full(self._shots, np.nan))[part.shots] = values


async def parts_of(
    batch: ShotsClosed, kinds: Collection[DeviceKind], chosen: Chosen, store: ObjectStore
) -> AsyncIterator[Part]:
    """The valid records of the chosen shots, of devices of these kinds, a block at a time.

    Raises:
        BlockGone: a block is not there.
    """
    for member in batch.members:
        if member.kind in kinds:
            rows = np.array(member.row, np.intp)
            for ref, shots in _blocks_of(member, chosen):
                block = await fetch_block(store, ref)
                arrays = {name: _rows_of(array, rows[shots]) for name, array in block.arrays.items()}
                yield Part(member.device, member.kind, shots, arrays)


def _blocks_of(member: Member, chosen: Chosen) -> list[tuple[BlockRef, NDArray[np.intp]]]:
    """Each block with those of the chosen shots whose valid record lies in it."""
    source = np.array(member.source)
    valid = chosen & (source != ABSENT) & (np.array(member.verdict) == VALID)
    found = ((ref, np.flatnonzero(valid & (source == n))) for n, ref in enumerate(member.blocks))
    return [(ref, shots) for ref, shots in found if len(shots)]


def _rows_of(array: Array, rows: NDArray[np.intp]) -> Array:
    """A view where all of them are meant, in their order."""
    whole = len(rows) == len(array) and bool((np.diff(rows) == 1).all())
    return array if whole else array[rows]
