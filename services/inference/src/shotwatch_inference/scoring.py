"""The model's scores of a batch, computed from its frames in the object store, and its judgement."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from math import isfinite

from shotwatch_common.fetching import fetch_block
from shotwatch_common.readings import Collected, Readings, readings_of
from shotwatch_common.store import ObjectStore
from shotwatch_common.turns import SLICE, Turns, Urgency
from shotwatch_detector.arrays import Features, Frames
from shotwatch_detector.decision import Judgement
from shotwatch_detector.detector import Detector
from shotwatch_detector.finding import Finding
from shotwatch_detector.thresholds import Share
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.records import BlockRef
from shotwatch_shots.vocabulary import AnomalyKind

CameraScores = Mapping[str, Features]
"""Device → score → one entry per shot, NaN where it has no valid frame."""


async def score(
    batch: ShotBatch, detector: Detector, store: ObjectStore, turns: Turns, urgency: Urgency
) -> CameraScores:
    """Score the frames of the cameras that a detector knows, one block at a time, in slices.

    Raises:
        BlockGone: a block no longer exists.
    """
    scores = Collected(len(batch.pulses))
    async for readings in frames_of(batch, detector.bundle.cameras, store):
        for part in readings.slices(SLICE):
            await turns.compute(urgency, add_scores, scores, part, detector)
    return scores.columns


def add_scores(scores: Collected, readings: Readings, detector: Detector) -> None:
    """Add the scores of some frames; a camera that was not in the training data gets no scores."""
    scores.add(readings, detector.score(readings.device, readings.arrays["image"]))


def with_scores(features: Mapping[str, Features], scores: CameraScores) -> dict[str, Features]:
    """Return device → its features and scores."""
    return {device: {**known, **scores.get(device, {})} for device, known in features.items()}


def was_scored(scores: CameraScores, camera: str, shot: int) -> bool:
    return any(isfinite(values[shot]) for values in scores.get(camera, {}).values())


def frames_of(batch: ShotBatch, cameras: Collection[str], store: ObjectStore) -> AsyncIterator[Readings]:
    """Yield the valid frames of these cameras, one block at a time.

    Raises:
        BlockGone: a block no longer exists.
    """
    known = [member for member in batch.members_of((DeviceKind.CAMERA,)) if member.device in cameras]
    return readings_of(known, store)


async def images(ref: BlockRef, store: ObjectStore) -> Frames:
    """Return all frames of a block: (n, h, w).

    Raises:
        BlockGone: the block no longer exists.
    """
    block = await fetch_block(store, ref)
    frames: Frames = block.arrays["image"]
    return frames


def judge_batch(
    batch: ShotBatch, features: Mapping[str, Features], detector: Detector, share: Share
) -> Judgement:
    """Judge the shots of a batch by their features and scores."""
    return detector.judge(batch.series.place.in_words, features, len(batch.pulses), share)


def kinds_of(findings: Iterable[Finding]) -> dict[int, Sequence[AnomalyKind]]:
    """Return shot → the kinds of its findings."""
    kinds: dict[int, set[AnomalyKind]] = defaultdict(set)
    for finding in findings:
        kinds[finding.shot].add(finding.kind)
    return {shot: sorted(of_shot) for shot, of_shot in kinds.items()}
