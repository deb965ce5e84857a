"""The challenger in shadow: it scores what the champion has judged, and nobody hears of it.

Consumes `ShotsMeasured` from a queue of its own, filled once the champion's events are told and only while a
challenger is loaded: whatever goes wrong here never holds up the champion.

Delivery: writes one document under the batch's id and the version; run twice, it stays as it is.
"""

import asyncio

from shotwatch_common.archive.measurements import Source
from shotwatch_common.process import Edges
from shotwatch_inference.judging import judge_batch, kinds_of
from shotwatch_inference.models import ModelWatch
from shotwatch_inference.scoring import score, with_scores
from shotwatch_inference.settings import InferenceSettings
from shotwatch_shots.batch import ShotsMeasured


class Shadow:
    """Features and blocks in; the challenger's scores out."""

    def __init__(self, edges: Edges[InferenceSettings], challenger: ModelWatch) -> None:
        self._edges = edges
        self._challenger = challenger

    async def score(self, message: ShotsMeasured) -> None:
        """Keep what the challenger says of a batch; nothing when it has gone meanwhile."""
        challenger, batch = self._challenger.current, message.shots
        if challenger is None:
            return
        archive, rate = self._edges.archive, self._edges.settings.false_alarms_per_hour
        scores = await score(batch, challenger.detector, self._edges.store)
        features = await archive.measurements.of_batch(batch.batch_id, Source.FEATURES)
        judgement = await asyncio.to_thread(
            judge_batch, batch, with_scores(features, scores), challenger.detector, rate
        )
        await archive.shadows.keep(
            batch, challenger.ref.version, judgement.score, kinds_of(judgement.findings)
        )
