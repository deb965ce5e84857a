"""The model's scores of a batch, computed from its frames in the object store."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.fetching import fetch_block
from shotwatch_common.store import ObjectStore
from shotwatch_detector.arrays import Features, Frames, Values
from shotwatch_detector.detector import Detector
from shotwatch_shots.batch import ABSENT, Member, ShotsClosed
from shotwatch_shots.records import VALID, BlockRef
from shotwatch_shots.vocabulary import DeviceKind

CameraScores = Mapping[str, Features]
"""Device → score → one entry per shot, NaN where it has no valid frame."""


@dataclass(frozen=True, slots=True)
class CameraFrames:
    """The valid frames of one camera that lie in one block."""

    device: str
    shots: NDArray[np.intp]
    """Indices of the batch's shots that have these frames: (n,)."""
    frames: Frames
    """(n, h, w) counts."""


class Scores:
    """The scores of a batch of n shots, collected from its parts."""

    def __init__(self, detector: Detector, shots: int) -> None:
        self.columns: dict[str, dict[str, Values]] = {}
        self._detector = detector
        self._shots = shots

    def add(self, part: CameraFrames) -> None:
        """Score some frames; a camera that was not in the training data gets no scores."""
        columns = self.columns.setdefault(part.device, {})
        for name, values in self._detector.score(part.device, part.frames).items():
            columns.setdefault(name, np.full(self._shots, np.nan))[part.shots] = values


async def score(batch: ShotsClosed, detector: Detector, store: ObjectStore) -> CameraScores:
    """Score the frames of the cameras that a detector knows, one block at a time.

    Raises:
        BlockGone: a block no longer exists.
    """
    scores = Scores(detector, len(batch.pulses))
    async for part in frames_of(batch, detector.bundle.cameras, store):
        await asyncio.to_thread(scores.add, part)
    return scores.columns


def with_scores(features: Mapping[str, Features], scores: CameraScores) -> dict[str, Features]:
    """Return device → its features and scores."""
    return {device: {**known, **scores.get(device, {})} for device, known in features.items()}


def was_scored(scores: CameraScores, camera: str, shot: int) -> bool:
    return any(isfinite(values[shot]) for values in scores.get(camera, {}).values())


async def frames_of(
    batch: ShotsClosed, cameras: Collection[str], store: ObjectStore
) -> AsyncIterator[CameraFrames]:
    """Yield the valid frames of these cameras, one block at a time.

    Raises:
        BlockGone: a block no longer exists.
    """
    for member in batch.members:
        if member.kind is DeviceKind.CAMERA and member.device in cameras:
            for ref, shots in _blocks_of(member):
                rows = np.array(member.row, np.intp)[shots]
                yield CameraFrames(member.device, shots, (await images(ref, store))[rows])


async def images(ref: BlockRef, store: ObjectStore) -> Frames:
    """Return all frames of a block: (n, h, w).

    Raises:
        BlockGone: the block no longer exists.
    """
    block = await fetch_block(store, ref)
    frames: Frames = block.arrays["image"]
    return frames


def _blocks_of(member: Member) -> list[tuple[BlockRef, NDArray[np.intp]]]:
    """Return each block with the shots whose valid record lies in it."""
    source, verdict = np.array(member.source), np.array(member.verdict)
    valid = (source != ABSENT) & (verdict == VALID)
    found = ((ref, np.flatnonzero(valid & (source == n))) for n, ref in enumerate(member.blocks))
    return [(ref, shots) for ref, shots in found if len(shots)]
