"""The frames of past shots, found from shots through batches and blocks."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.archive import Archive
from shotwatch_common.fetching import BlockGone, fetch_block
from shotwatch_common.store import ObjectStore
from shotwatch_shots.batch import Member
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Facility
from shotwatch_shots.records import BlockRef
from shotwatch_shots.shot import JudgedShot

READERS = 4
"""How many blocks are read concurrently."""

Frames = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class CameraFrames:
    """Frames of one camera, in the order of the shots' pulses."""

    device: str
    times: NDArray[np.int64]
    """Epoch ms of the pulses, (n,)."""
    frames: Frames
    """Counts, (n, h, w); (0, 0, 0) if there are no frames."""


@dataclass(frozen=True, slots=True)
class _Row:
    """The row of a shot's frame in its block."""

    pulse: int
    row: int


_Rows = Mapping[BlockRef, Sequence[_Row]]


class FrameReader:
    """Reads frames from blocks: each block once, and only a few at a time.

    Left out are blocks that have expired, or whose frames have another shape than the facility's: their
    size would be unknown. A block is in memory only while `reading` is held; by default, READERS blocks are
    read at a time.
    """

    def __init__(
        self,
        archive: Archive,
        store: ObjectStore,
        facility: Facility,
        reading: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        self._archive = archive
        self._store = store
        self._facility = facility
        self._reading = reading or asyncio.Semaphore(READERS)

    async def read(
        self, shots: Sequence[JudgedShot], devices: Collection[str] = (), refused_too: bool = False
    ) -> list[CameraFrames]:
        """Return the frames that cameras recorded in these shots.

        Args:
            shots: in any order.
            devices: group names; empty for every camera of the shots.
            refused_too: also return frames that validation refused, such as dark frames.
        """
        found = await self._find(shots, devices, refused_too)
        return [await self._camera(device, rows) for device, rows in found.items()]

    async def _find(
        self, shots: Sequence[JudgedShot], devices: Collection[str], refused_too: bool
    ) -> Mapping[str, _Rows]:
        found: dict[str, dict[BlockRef, list[_Row]]] = defaultdict(lambda: defaultdict(list))
        for batch_id in dict.fromkeys(shot.batch for shot in shots):
            batch = await self._archive.batches.find(batch_id)
            chosen = [shot for shot in shots if shot.batch == batch_id]
            for member in batch.members if batch else ():
                if member.kind is DeviceKind.CAMERA and (not devices or member.device in devices):
                    for block, row in _rows_of(member, chosen, refused_too):
                        found[member.device][block].append(row)
        return found

    async def _camera(self, device: str, blocks: _Rows) -> CameraFrames:
        shape = self._facility.device_type(device).datasets[0].shape
        read = await asyncio.gather(*(self._frames(ref, rows, shape) for ref, rows in blocks.items()))
        there = [
            (rows, frames) for rows, frames in zip(blocks.values(), read, strict=True) if frames is not None
        ]
        times = np.array([row.pulse for rows, _ in there for row in rows], np.int64)
        order = np.argsort(times)
        frames = np.concatenate([frames for _, frames in there]) if there else np.empty((0, 0, 0), np.uint16)
        return CameraFrames(device, times[order], frames[order])

    async def _frames(self, ref: BlockRef, rows: Sequence[_Row], shape: tuple[int, ...]) -> Frames | None:
        """Return some rows of a block; None if the block has expired, or has no such rows of this shape."""
        chosen = [row.row for row in rows]
        async with self._reading:
            try:
                block = await fetch_block(self._store, ref)
            except BlockGone:
                return None
            images: Frames = block.arrays["image"]
            if images.shape[1:] != shape or len(images) <= max(chosen):
                return None
            return images[chosen]


def _rows_of(
    member: Member, shots: Sequence[JudgedShot], refused_too: bool
) -> Iterator[tuple[BlockRef, _Row]]:
    for shot in shots:
        record = member.of_shot(shot.index)
        if record.block is not None and record.row is not None and (refused_too or record.valid):
            yield record.block, _Row(shot.pulse, record.row)
