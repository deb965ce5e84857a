"""inference: scores each shot, decides, and tells operators.

Consumes `ShotsMeasured`, publishes `AnomalyEvent` on the exchange `anomalies`, and `ShotsFlagged`.

Delivery: reads the features that lie under the batch's id and the frames' blocks; writes residuals, scores
and the shots with their verdicts; then enters the batch into the book of conditions of its place by
compare-and-set, together with the events to tell (the book's outbox); these are stored under their id with
a sequence number, published with confirms, marked as published, and struck off; the anomalous shots are
sent to be examined; last the batch is marked as judged. Run twice, what is written stays, a batch that is
in the book is not entered again, and only events that were not yet marked are published. Dying half-way,
the message comes again. A batch of a revision that is no longer the newest raises no events and changes no
shot.
"""

import asyncio
import io
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import groupby
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.announcing import announce
from shotwatch_common.archive.measurements import Source
from shotwatch_common.archive.shots import Verdict
from shotwatch_common.blocks import Block, read_block
from shotwatch_common.bus import Subscription
from shotwatch_common.contracts import (
    ABSENT,
    VALID,
    AnomalyEvent,
    BlockRef,
    Member,
    ModelRef,
    PlaceRef,
    ShotsClosed,
    ShotsFlagged,
    ShotsMeasured,
)
from shotwatch_common.errors import Retry
from shotwatch_common.facility import NO_ARM
from shotwatch_common.identity import residual_key
from shotwatch_common.process import Edges, Service, every
from shotwatch_common.store import ObjectGone
from shotwatch_common.telemetry import current_trace_id, current_traceparent
from shotwatch_common.vocabulary import DeviceKind, Severity
from shotwatch_detector.arrays import Features, Values
from shotwatch_detector.decision import Judgement
from shotwatch_detector.detector import Detector
from shotwatch_detector.finding import Finding
from shotwatch_inference.book import Book
from shotwatch_inference.champion import Champion, ChampionWatch
from shotwatch_inference.domain.conditions import Telling, quiet_ms
from shotwatch_inference.domain.rules import apply_rules
from shotwatch_inference.events import (
    Publication,
    camera_of,
    event_of,
    shot_ids,
    sightings_of,
    withdrawals,
)
from shotwatch_inference.settings import InferenceSettings

_SEVERITIES = tuple(Severity)


async def assemble(edges: Edges[InferenceSettings], resources: AsyncExitStack) -> Service:
    settings = edges.settings
    watch = await resources.enter_async_context(
        ChampionWatch(settings.models_url, settings.model_name, settings.model_alias, edges.log)
    )

    async def look_again_and_again() -> None:
        await every(settings.model_poll_seconds, watch.look, edges.log)

    def facts() -> dict[str, str]:
        return {"model": watch.current.version if watch.current else "none: only rules apply"}

    judge = Judge(edges, watch)
    subscription = Subscription("inference", ShotsMeasured, judge.judge, settings.prefetch)
    return Service((subscription,), (look_again_and_again,), facts)


class Judge:
    """Features and blocks in; events, and shots with a verdict, out."""

    def __init__(self, edges: Edges[InferenceSettings], champion: ChampionWatch) -> None:
        self._edges = edges
        self._champion = champion
        self._book = Book(edges.archive)

    async def judge(self, message: ShotsMeasured) -> None:
        """Judge a batch of shots, store what is known, tell of what is odd."""
        batch = message.shots
        champion = self._champion.current
        features = await self._edges.archive.measurements.of_batch(batch.batch_id, Source.FEATURES)
        scores = await self._score(batch, champion) if champion else {}
        everything = {device: {**known, **scores.get(device, {})} for device, known in features.items()}
        findings, judgement = await asyncio.to_thread(self._decide, batch, everything, champion)
        publication = self._publication(champion)
        if champion is not None:
            await self._keep_residuals(batch, findings, scores, champion)
        await self._edges.archive.measurements.keep(batch, Source.MODEL, scores)
        verdicts = _verdicts(findings, judgement, len(batch.pulses))
        await self._edges.archive.shots.write(batch, verdicts, publication.model, publication.trace_id)
        await self._tell(batch, findings, scores, publication)
        await self._have_examined(batch, findings)
        await self._edges.archive.batches.judged(batch.batch_id)

    def _decide(
        self, batch: ShotsClosed, features: Mapping[str, Features], champion: Champion | None
    ) -> tuple[list[Finding], Judgement | None]:
        place = _spoken(batch.place)
        findings = apply_rules(batch, features, place, self._edges.facility)
        if champion is None:
            return findings, None
        rate = self._edges.settings.false_alarms_per_hour
        judgement = champion.detector.judge(place, features, len(batch.pulses), rate)
        return [*findings, *judgement.findings], judgement

    async def _score(self, batch: ShotsClosed, champion: Champion) -> dict[str, Features]:
        """The model's scores of each camera it knows, one entry per shot, NaN where it has no valid frame."""
        scores: dict[str, Features] = {}
        for member in batch.members:
            if member.kind is DeviceKind.CAMERA and member.device in champion.detector.bundle.cameras:
                scores[member.device] = await self._score_camera(member, len(batch.pulses), champion.detector)
        return scores

    async def _score_camera(self, member: Member, shots: int, detector: Detector) -> Features:
        columns: dict[str, Values] = {}
        source = np.array(member.source)
        valid = (source != ABSENT) & (np.array(member.verdict) == VALID)
        for n, ref in enumerate(member.blocks):
            where = np.flatnonzero(valid & (source == n))
            if len(where):
                frames = (await self._block(ref)).arrays["image"][np.array(member.row, np.intp)[where]]
                for name, values in (await asyncio.to_thread(detector.score, member.device, frames)).items():
                    columns.setdefault(name, np.full(shots, np.nan))[where] = values
        return columns

    async def _keep_residuals(
        self,
        batch: ShotsClosed,
        findings: Sequence[Finding],
        scores: Mapping[str, Features],
        champion: Champion,
    ) -> None:
        """Store the residual of the frame that shows each finding best, where the model scored it."""
        ids = shot_ids(batch)
        shown = {(camera_of(finding, batch), finding.shot) for finding in findings}
        for member in batch.members:
            shots = [n for camera, n in shown if camera == member.device and _was_scored(scores, camera, n)]
            for source, of_block in groupby(
                sorted(shots, key=member.source.__getitem__), member.source.__getitem__
            ):
                frames = (await self._block(member.blocks[source])).arrays["image"]
                for n in of_block:
                    residual = await asyncio.to_thread(
                        champion.detector.residual, member.device, frames[member.row[n]]
                    )
                    key = residual_key(ids[n], member.device)
                    await self._edges.store.put(self._edges.settings.block_bucket, key, _npy(residual))

    async def _tell(
        self,
        batch: ShotsClosed,
        findings: Sequence[Finding],
        scores: Mapping[str, Features],
        publication: Publication,
    ) -> None:
        """Enter what the newest revisions show into the book of conditions, and tell what it says."""
        ids, newest = shot_ids(batch), await self._newest(batch, findings)
        current = [finding for finding in findings if ids[finding.shot] in newest]
        revised = [n for n, revision in enumerate(batch.revisions) if revision > 1 and ids[n] in newest]
        earlier = await self._edges.archive.events.of_shots([ids[n] for n in revised]) if revised else []
        withdrawn = withdrawals(batch, current, earlier, publication)

        def events_of(tellings: Sequence[Telling]) -> list[AnomalyEvent]:
            told = [
                event_of(telling, batch, partial(_cameras_scored, scores), publication)
                for telling in tellings
            ]
            return [*told, *withdrawn]

        quiet = quiet_ms(self._edges.facility.interval(batch.place.interval).period_ms)
        events = await self._book.enter(batch, sightings_of(current, batch), quiet, events_of)
        if events:
            await announce(events, self._edges.archive, self._edges.bus, self._edges.log)
            await self._book.told(batch)

    async def _newest(self, batch: ShotsClosed, findings: Sequence[Finding]) -> set[str]:
        """Of the shots that are odd or revised: those that have no later revision."""
        ids = shot_ids(batch)
        odd = {finding.shot for finding in findings}
        concerned = [n for n, revision in enumerate(batch.revisions) if n in odd or revision > 1]
        if not concerned:
            return set()
        revisions = await self._edges.archive.shots.revisions([ids[n] for n in concerned])
        return {ids[n] for n in concerned if revisions.get(ids[n]) == batch.revisions[n]}

    async def _have_examined(self, batch: ShotsClosed, findings: Sequence[Finding]) -> None:
        """Ask features for everything that can be measured of the anomalous shots."""
        flagged = sorted({finding.shot for finding in findings})
        if flagged:
            message = ShotsFlagged(batch_id=batch.batch_id, shots=flagged)
            await self._edges.bus.send("examination", message)

    def _publication(self, champion: Champion | None) -> Publication:
        model = None
        if champion is not None:
            model = ModelRef(name=champion.name, version=champion.version, run_id=champion.run_id)
        return Publication(self._edges.facility.name, model, current_trace_id(), current_traceparent())

    async def _block(self, ref: BlockRef) -> Block:
        try:
            return read_block(await self._edges.store.get(ref.bucket, ref.key))
        except ObjectGone as error:
            raise Retry(f"block {ref.key} of {ref.object_key} is not there (yet)") from error


def _verdicts(findings: Sequence[Finding], judgement: Judgement | None, shots: int) -> list[Verdict]:
    of_shot: dict[int, list[Finding]] = {}
    for finding in findings:
        of_shot.setdefault(finding.shot, []).append(finding)
    return [_verdict(of_shot.get(n, ()), judgement, n) for n in range(shots)]


def _verdict(findings: Sequence[Finding], judgement: Judgement | None, shot: int) -> Verdict:
    return Verdict(
        score=None if judgement is None else float(judgement.score[shot]),
        threshold=None if judgement is None else judgement.threshold,
        kinds=sorted({finding.kind for finding in findings}),
        severity=max((f.severity for f in findings), key=_SEVERITIES.index, default=None),
    )


def _cameras_scored(scores: Mapping[str, Features], shot: int) -> set[str]:
    return {camera for camera in scores if _was_scored(scores, camera, shot)}


def _was_scored(scores: Mapping[str, Features], camera: str, shot: int) -> bool:
    return any(isfinite(values[shot]) for values in scores.get(camera, {}).values())


def _spoken(place: PlaceRef) -> str:
    """`LA A1 11`, as people at the facility say it."""
    return " ".join(part for part in (place.frontend, place.amp, place.arm) if part != NO_ARM)


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
