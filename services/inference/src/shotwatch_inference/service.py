"""inference: score each shot, decide, and notify operators.

Consumes `ShotsMeasured`, publishes `AnomalyEvent` on the exchange `anomalies`, and `ShotsFlagged`.

Delivery, in this order:
- Read the features stored under the batch's id.
- Read the thresholds of the hour; store them first if no batch of the hour was judged before.
- Read the blocks of the frames.
- Enter the batch into the levels of its place by compare-and-set, with the shifts that it shows.
- Write the shots with their verdicts.
- Enter the batch into the incident store of its place by compare-and-set. The same write stores the resulting
  events in the outbox.
- Store each event under its id with a sequence number, publish it with confirms, and mark it as published.
  Then empty the outbox.
- Write residuals: some milliseconds after the event that refers to them.
- Enter the scores of normal shots into the past of their place, by compare-and-set. Then write all scores.
- Send the anomalous shots to be measured in detail, and mark the batch as judged.
- If there is a challenger, send the batch to its queue.

Handling a message a second time leaves stored results as they are and does not enter the batch again. Only
events that are not yet marked as published are published. If the service dies halfway, the message is
delivered again, to a replica that has loaded its models. A shot in a batch that is not at its newest revision
raises no events and is not changed.

Large batches are scored in slices; a challenger scores when none of these waits (`turns`).
"""

import asyncio
import io
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import groupby
from socket import gethostname
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_common import faults, metrics
from shotwatch_common.announcing import announce
from shotwatch_common.archive.measurements import Source
from shotwatch_common.background import every
from shotwatch_common.bus import Subscription
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import PREFETCH, Service, ServiceContext
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.telemetry import current_trace_id, current_traceparent
from shotwatch_common.turns import Turns, Urgency, usable_cores
from shotwatch_detector.arrays import Features
from shotwatch_detector.decision import Judgement
from shotwatch_detector.finding import Finding
from shotwatch_detector.thresholds import SeriesThresholds
from shotwatch_inference.domain.incidents import Notification, quiet_ms
from shotwatch_inference.domain.rules import apply_rules
from shotwatch_inference.events import (
    Publication,
    camera_of,
    event_of,
    observations_of,
    superseding,
    withdrawals,
)
from shotwatch_inference.incident_store import IncidentStore
from shotwatch_inference.models import Model, ModelWatch
from shotwatch_inference.scoring import (
    CameraScores,
    OwnPast,
    follow_series,
    images,
    judge_batch,
    score,
    was_scored,
    with_scores,
)
from shotwatch_inference.settings import InferenceSettings
from shotwatch_inference.shadow import Shadow
from shotwatch_shots.batch import ShotBatch, ShotsFlagged, ShotsMeasured
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.identity import residual_key
from shotwatch_shots.models import LOAD_REPORT_S
from shotwatch_shots.shot import ShotVerdict
from shotwatch_shots.vocabulary import ModelAlias, Severity

MODEL_POLL_S = 2.0
"""Pause between two checks whether an alias has moved, in seconds."""
SHARE_OF_LEVELS = 0.1
"""False alarms of sequential tests, relative to those of single shots. They are additional to these."""
_SEVERITIES = tuple(Severity)


async def assemble(context: ServiceContext[InferenceSettings], resources: AsyncExitStack) -> Service:
    settings = context.settings
    registry = await resources.enter_async_context(ModelRegistry.of(settings))
    champion, challenger = (ModelWatch(registry, context.archive, alias, context.log) for alias in ModelAlias)

    async def poll_champion() -> None:
        await every(MODEL_POLL_S, champion.poll, context.log)

    async def poll_challenger() -> None:
        await every(MODEL_POLL_S, challenger.poll, context.log)

    replica = f"{gethostname()}:{settings.health_port}"

    async def report_loads() -> None:
        loads = [watch.report(replica) for watch in (champion, challenger)]
        await context.archive.model_loads.keep(loads)

    async def keep_reporting_loads() -> None:
        await every(LOAD_REPORT_S, report_loads, context.log)

    def facts() -> dict[str, str]:
        loads = [watch.report(replica) for watch in (champion, challenger)]
        return {
            "model": _version(champion, "none: only rules apply"),
            "challenger": _version(challenger, "none"),
            **{f"{load.alias}_problem": load.problem for load in loads if load.problem},
        }

    turns = Turns(usable_cores())
    judge, shadow = Judge(context, turns, champion, challenger), Shadow(context, turns, challenger)
    subscriptions = (
        Subscription("inference", ShotsMeasured, judge.judge, PREFETCH),
        Subscription("shadow", ShotsMeasured, shadow.score, prefetch=1),
    )
    return Service(
        subscriptions,
        startup_checks=(champion.poll, challenger.poll),  # no shot passes unscored after a restart
        background=(poll_champion, poll_challenger, keep_reporting_loads),
        facts=facts,
    )


def _version(watch: ModelWatch, otherwise: str) -> str:
    return watch.current.ref.version if watch.current else otherwise


class Judge:
    """The judge of shots: features and blocks in; events, and shots with a verdict, out."""

    def __init__(
        self,
        context: ServiceContext[InferenceSettings],
        turns: Turns,
        champion: ModelWatch,
        challenger: ModelWatch,
    ) -> None:
        self._context = context
        self._turns = turns
        self._champion = champion
        self._challenger = challenger
        self._incident_store = IncidentStore(context.archive)
        self._past = OwnPast(context.archive, context.facility, context.settings.false_alarms_per_hour)

    async def judge(self, message: ShotsMeasured) -> None:
        """Judge a batch of shots, store the results, and publish what is anomalous."""
        batch = message.shots
        champion = self._champion.current
        features = await self._context.archive.measurements.of_batch(batch.batch_id, Source.FEATURES)
        urgency = Urgency.SMALL if batch.is_small else Urgency.LARGE
        thresholds = await self._past.thresholds(batch, champion.ref.version) if champion else None
        scores = await self._score(batch, champion, urgency)
        findings, judgement = await self._turns.compute(
            urgency, self._decide, batch, with_scores(features, scores), champion, thresholds
        )
        if champion is not None and thresholds is not None:
            share = thresholds.share.part(SHARE_OF_LEVELS)
            findings += await follow_series(
                batch, features, findings, champion.detector, share, self._context.archive
            )
        publication = self._publication(champion)
        verdicts = _verdicts(findings, judgement, len(batch.pulses))
        newest = await self._context.archive.shots.write(
            batch, verdicts, publication.model, publication.trace_id
        )
        faults.reach("inference.after_verdicts")
        await self._publish(batch, findings, scores, publication, newest)
        if champion is not None and judgement is not None:
            await self._keep_residuals(batch, findings, scores, champion)
            await self._past.enter(batch, champion.ref.version, judgement, findings)
        await self._context.archive.measurements.keep(batch, Source.MODEL, scores)
        await self._request_detail(batch, findings)
        await self._context.archive.batches.judged(batch.batch_id)
        metrics.shots_judged(batch.series, len(verdicts), verdicts[-1].score, verdicts[-1].threshold)
        if self._challenger.current is not None:
            await self._context.bus.send("shadow", message)
        faults.reach("inference.after_judged")

    async def _score(self, batch: ShotBatch, champion: Model | None, urgency: Urgency) -> CameraScores:
        if champion is None:
            return {}
        return await score(batch, champion.detector, self._context.store, self._turns, urgency)

    def _decide(
        self,
        batch: ShotBatch,
        features: Mapping[str, Features],
        champion: Model | None,
        thresholds: SeriesThresholds | None,
    ) -> tuple[list[Finding], Judgement | None]:
        findings = apply_rules(batch, features, batch.series.place.in_words, self._context.facility)
        if champion is None or thresholds is None:
            return findings, None
        judgement = judge_batch(batch, features, champion.detector, thresholds)
        return [*findings, *judgement.findings], judgement

    async def _keep_residuals(
        self,
        batch: ShotBatch,
        findings: Sequence[Finding],
        scores: CameraScores,
        champion: Model,
    ) -> None:
        """Store the residual of the frame that shows each finding best, if the model scored that frame."""
        ids = batch.shot_ids
        shown = {(camera_of(finding, batch), finding.shot) for finding in findings}
        for member in batch.members:
            shots = [n for camera, n in shown if camera == member.device and was_scored(scores, camera, n)]
            for source, of_block in groupby(
                sorted(shots, key=member.source.__getitem__), member.source.__getitem__
            ):
                frames = await images(member.blocks[source], self._context.store)
                for n in of_block:
                    residual = await asyncio.to_thread(
                        champion.detector.residual, member.device, frames[member.row[n]]
                    )
                    key = residual_key(ids[n], member.device)
                    await self._context.store.put(self._context.settings.block_bucket, key, _npy(residual))

    async def _publish(
        self,
        batch: ShotBatch,
        findings: Sequence[Finding],
        scores: CameraScores,
        publication: Publication,
        newest: Collection[str],
    ) -> None:
        """Enter the findings of the shots at their newest revision into the incident store; publish events.

        `newest` are the ids of the batch's shots that have no later revision.
        """
        ids = batch.shot_ids
        current = [finding for finding in findings if ids[finding.shot] in newest]
        revised = [n for n in np.flatnonzero(batch.revisions > 1) if ids[n] in newest]
        earlier = await self._context.archive.events.of_shots([ids[n] for n in revised]) if revised else []
        withdrawn = withdrawals(batch, current, earlier, publication)

        def events_of(notifications: Sequence[Notification]) -> list[AnomalyEvent]:
            scored = partial(_cameras_scored, scores)
            made = [event_of(notification, batch, scored, publication) for notification in notifications]
            return [*(superseding(event, earlier) for event in made), *withdrawn]

        quiet = quiet_ms(self._context.facility.interval(batch.series.interval).period_ms)
        none_after_all = {e.data.incident for e in withdrawn if e.data.incident in e.data.supersedes}
        observations = observations_of(current, batch)
        events = await self._incident_store.enter(batch, observations, quiet, events_of, none_after_all)
        if events:
            faults.reach("inference.after_incidents")
            context = self._context
            await announce(events, context.archive, context.bus, context.log, batch.last_arrival)
            await self._incident_store.published(batch)

    async def _request_detail(self, batch: ShotBatch, findings: Sequence[Finding]) -> None:
        """Request the features service to measure the anomalous shots in detail."""
        flagged = sorted({finding.shot for finding in findings})
        if flagged:
            message = ShotsFlagged(batch_id=batch.batch_id, shots=flagged)
            await self._context.bus.send("detail", message)

    def _publication(self, champion: Model | None) -> Publication:
        model = champion.ref if champion else None
        facility = self._context.facility.name
        return Publication(facility, model, current_trace_id(), current_traceparent(), epoch_now())


def _verdicts(findings: Sequence[Finding], judgement: Judgement | None, shots: int) -> list[ShotVerdict]:
    of_shot: dict[int, list[Finding]] = {}
    for finding in findings:
        of_shot.setdefault(finding.shot, []).append(finding)
    return [_verdict(of_shot.get(n, ()), judgement, n) for n in range(shots)]


def _verdict(findings: Sequence[Finding], judgement: Judgement | None, shot: int) -> ShotVerdict:
    return ShotVerdict(
        score=None if judgement is None else float(judgement.score[shot]),
        threshold=None if judgement is None else judgement.threshold,
        kinds=tuple(sorted({finding.kind for finding in findings})),
        severity=max((f.severity for f in findings), key=_SEVERITIES.index, default=None),
    )


def _cameras_scored(scores: CameraScores, shot: int) -> set[str]:
    return {camera for camera in scores if was_scored(scores, camera, shot)}


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
