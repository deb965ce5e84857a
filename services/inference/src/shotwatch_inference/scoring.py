"""The model's scores of a batch, computed from its frames in the object store, and its judgement.

The scores of normal shots become the past of their series, which sets the thresholds of later hours.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite

from shotwatch_common.archive import Archive
from shotwatch_common.fetching import fetch_block
from shotwatch_common.readings import Collected, Readings, readings_of
from shotwatch_common.store import ObjectStore
from shotwatch_common.turns import SLICE, Turns, Urgency
from shotwatch_detector.arrays import Features, Frames
from shotwatch_detector.decision import Judgement
from shotwatch_detector.detector import Detector
from shotwatch_detector.finding import Finding
from shotwatch_detector.thresholds import (
    PAST_HOURS,
    SeriesThresholds,
    Share,
    block_scores,
    hour_of,
    own_thresholds,
    past_of,
    share_of,
)
from shotwatch_inference.domain.incidents import quiet_ms
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Facility
from shotwatch_shots.models import ScoredHour
from shotwatch_shots.place import ShotSeries
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
    batch: ShotBatch, features: Mapping[str, Features], detector: Detector, thresholds: SeriesThresholds
) -> Judgement:
    """Judge the shots of a batch by their features and scores."""
    return detector.judge(batch.series.place.in_words, features, len(batch.pulses), thresholds)


def kinds_of(findings: Iterable[Finding]) -> dict[int, Sequence[AnomalyKind]]:
    """Return shot → the kinds of its findings."""
    kinds: dict[int, set[AnomalyKind]] = defaultdict(set)
    for finding in findings:
        kinds[finding.shot].add(finding.kind)
    return {shot: sorted(of_shot) for shot, of_shot in kinds.items()}


class OwnPast:
    """The past of each series by the versions of one alias: it sets thresholds, and each batch adds to it.

    The thresholds of an hour are stored when its first batch is judged, and do not change. So all replicas
    judge by the same ones, and no hour sets its own. Batches are entered by compare-and-set. Entering one
    again changes nothing.
    """

    def __init__(self, archive: Archive, facility: Facility, false_alarms_per_hour: float) -> None:
        self._archive = archive
        self._facility = facility
        self._per_hour = false_alarms_per_hour
        self._known: dict[ShotSeries, ScoredHour] = {}
        """Series → the hour of its last batch, as this replica read or wrote it last."""

    async def thresholds(self, batch: ShotBatch, model: str) -> SeriesThresholds:
        """Return the thresholds by which a version of the model judges a batch."""
        hour = await self._hour(batch, model)
        return SeriesThresholds(self._share(batch.series), hour.thresholds if hour else None)

    async def enter(
        self, batch: ShotBatch, model: str, judgement: Judgement, findings: Iterable[Finding]
    ) -> None:
        """Add a batch's scores; `findings` are those of the rules and of the model."""
        scores = block_scores(
            batch.pulses // self._block_ms(batch.series),
            judgement.questions,
            anomalous={finding.shot for finding in findings},
            alarmed={finding.shot for finding in judgement.findings},
        )
        while (hour := await self._hour(batch, model)) is not None:
            after = hour.after(scores)
            if after.scores == hour.scores:
                return
            if await self._archive.scored_hours.save(after):
                self._known[batch.series] = after
                return
            self._known.pop(batch.series, None)  # another task may have removed it

    async def _hour(self, batch: ShotBatch, model: str) -> ScoredHour | None:
        """Return the hour of a batch; None if its document is malformed."""
        hour = hour_of(batch.pulses)
        known = self._known.get(batch.series)
        if known is None or (known.model, known.hour) != (model, hour):
            stored = await self._archive.scored_hours.load(str(batch.series), model, hour)
            known = stored or await self._begin(batch.series, model, hour)
            if known is not None:
                self._known[batch.series] = known
        return known

    async def _begin(self, series: ShotSeries, model: str, hour: int) -> ScoredHour | None:
        """Store the thresholds of an hour, unless another replica does."""
        hours = self._archive.scored_hours
        past = await hours.past(str(series), model, hour - PAST_HOURS, hour)
        confirmed = await self._archive.feedback.confirmed(series, *past_of(hour))
        thresholds = own_thresholds(past, confirmed, hour, self._share(series), self._block_ms(series))
        begun = ScoredHour(str(series), model, hour, thresholds)
        return begun if await hours.save(begun) else await hours.load(str(series), model, hour)

    def _share(self, series: ShotSeries) -> Share:
        return share_of(series, self._facility, self._per_hour)

    def _block_ms(self, series: ShotSeries) -> int:
        return quiet_ms(self._facility.interval(series.interval).period_ms)


async def follow_series(
    batch: ShotBatch,
    features: Mapping[str, Features],
    findings: Sequence[Finding],
    detector: Detector,
    share: Share,
    archive: Archive,
) -> list[Finding]:
    """Enter a batch into the levels of its series; return the steps and drifts that it completes."""
    follow = partial(detector.levels_after, batch=batch, features=features, alone=findings, share=share)
    levels = await archive.levels.enter(str(batch.series), follow)
    return detector.findings_of_levels(levels, batch, findings, share)
