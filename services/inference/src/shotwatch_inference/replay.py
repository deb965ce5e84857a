"""Replay of stored shots through two versions of the model; nothing is written or published."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from shotwatch_common.archive import Archive
from shotwatch_common.archive.measurements import Source
from shotwatch_common.fetching import BlockGone
from shotwatch_common.readings import Collected
from shotwatch_common.store import ObjectStore
from shotwatch_detector.arrays import Features
from shotwatch_detector.detector import Detector
from shotwatch_detector.finding import Finding
from shotwatch_detector.severity import RULE_KINDS
from shotwatch_detector.thresholds import SeriesThresholds, share_of
from shotwatch_inference.domain.comparison import Only, Opinion, VersionSummary, VersionTally, only
from shotwatch_inference.domain.incidents import follow, quiet_ms
from shotwatch_inference.events import observations_of
from shotwatch_inference.models import Model
from shotwatch_inference.scoring import add_scores, frames_of, judge_batch, kinds_of, with_scores
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.feedback import ShotLabels
from shotwatch_shots.incidents import Incidents
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import Phase

MINUTE_MS = 60_000
STEP_MS = 10 * MINUTE_MS
"""Length of the time ranges whose shots are in memory, in ms."""

Progress = Callable[..., None]
"""Callback, called as progress(step, figure=…, …)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two versions on the same shots."""

    versions: tuple[VersionSummary, VersionSummary]
    only: tuple[Only, Only]
    """For each version, the shots that it alone flags as anomalous."""
    shots: int
    expired: int
    """Number of shots that were left out because some of their frames have expired."""


@dataclass(slots=True)
class _Contender:
    """A version at one place: its results so far and its open incidents."""

    detector: Detector
    tally: VersionTally
    watch: Incidents = field(default_factory=Incidents)

    def form(
        self,
        batch: ShotBatch,
        shots: Sequence[int],
        features: Mapping[str, Features],
        thresholds: SeriesThresholds,
        quiet: int,
    ) -> Opinion:
        """Return the result for some shots of a batch."""
        judgement = judge_batch(batch, features, self.detector, thresholds)
        findings = [finding for finding in judgement.findings if finding.shot in shots]
        ids, kinds = batch.shot_ids, kinds_of(findings)
        return Opinion(
            scores={ids[n]: float(judgement.score[n]) for n in shots},
            kinds={ids[n]: of_shot for n, of_shot in kinds.items()},
            alarms=self._alarms(batch, findings, quiet),
        )

    def _alarms(self, batch: ShotBatch, findings: Sequence[Finding], quiet: int) -> int:
        """Update the incidents, and return how many began."""
        self.watch, notifications = follow(
            self.watch, observations_of(findings, batch), int(batch.pulses.max()), quiet
        )
        return sum(notification.phase in (Phase.OPENED, Phase.PASSED) for notification in notifications)


class Replay:
    """The replay of stored shots through two versions."""

    def __init__(
        self, archive: Archive, store: ObjectStore, facility: Facility, false_alarms_per_hour: float
    ) -> None:
        self._archive = archive
        self._store = store
        self._facility = facility
        self._rate = false_alarms_per_hour
        self._labels: dict[str, ShotLabels] = {}
        self._expired = 0

    async def compare(
        self,
        models: tuple[Model, Model],
        all_expected: Sequence[ExpectedDevices],
        start: int,
        end: int,
        progress: Progress,
    ) -> Comparison:
        """Replay the shots with start <= pulse < end (epoch ms) at these places."""
        one, other = (VersionTally(model.ref.version) for model in models)
        for number, expected in enumerate(all_expected):
            contenders = [
                _Contender(model.detector, tally) for model, tally in zip(models, (one, other), strict=True)
            ]
            async for minutes in self._replay(expected, start, end, contenders):
                whole = (end - start) / MINUTE_MS
                progress(
                    "replaying", done=round(number * whole + minutes), of=round(len(all_expected) * whole)
                )
        return Comparison(
            versions=(one.summary(self._labels, RULE_KINDS), other.summary(self._labels, RULE_KINDS)),
            only=(only(one, other), only(other, one)),
            shots=len(one.scores),
            expired=self._expired,
        )

    async def _replay(
        self, expected: ExpectedDevices, start: int, end: int, contenders: Sequence[_Contender]
    ) -> AsyncIterator[float]:
        """Replay one place; yield how many minutes of it are done."""
        quiet = quiet_ms(self._facility.interval(expected.interval).period_ms)
        for begin in range(start, end, STEP_MS):
            stop = min(begin + STEP_MS, end)
            for batch_id, shots in (await self._batches(expected, begin, stop)).items():
                batch = await self._archive.batches.find(batch_id)
                if batch is not None:
                    await self._evaluate(batch, shots, contenders, quiet)
            yield (stop - start) / MINUTE_MS

    async def _batches(self, expected: ExpectedDevices, start: int, end: int) -> dict[str, list[int]]:
        """Return batch → indices of its current shots, with the batches in order of their first shot."""
        batches: dict[str, list[int]] = defaultdict(list)
        wanted = ShotFilter(area=expected.place, interval=expected.interval)
        shots = await self._archive.shots.page(wanted, start, end)
        self._labels |= await self._archive.feedback.labels(shots)
        for shot in shots:
            batches[shot.batch].append(shot.index)
        return batches

    async def _evaluate(
        self, batch: ShotBatch, shots: Sequence[int], contenders: Sequence[_Contender], quiet: int
    ) -> None:
        """Score and judge a batch with all versions, or with none if its frames have expired."""
        features = await self._archive.measurements.of_batch(batch.batch_id, Source.FEATURES)
        scores = [Collected(len(batch.pulses)) for _ in contenders]
        seconds = [0.0 for _ in contenders]
        cameras = {camera for contender in contenders for camera in contender.detector.bundle.cameras}
        try:
            async for readings in frames_of(batch, cameras, self._store):
                for n, contender in enumerate(contenders):
                    seconds[n] += await asyncio.to_thread(
                        _timed, add_scores, scores[n], readings, contender.detector
                    )
        except BlockGone:
            self._expired += len(shots)
            return
        thresholds = SeriesThresholds(share_of(batch.series, self._facility, self._rate))
        for contender, of_version, spent in zip(contenders, scores, seconds, strict=True):
            began = perf_counter()
            everything = with_scores(features, of_version.columns)
            opinion = await asyncio.to_thread(contender.form, batch, shots, everything, thresholds, quiet)
            contender.tally.add(opinion, spent + perf_counter() - began)


def _timed(work: Callable[..., None], *arguments: object) -> float:
    """Call the function, and return how many seconds it took."""
    began = perf_counter()
    work(*arguments)
    return perf_counter() - began
