"""The challenger in shadow mode: it scores what the champion has judged, without any effect on events.

Consumes `ShotsMeasured` from its own queue. A batch is sent there after the champion's events are published,
and only while a challenger is loaded. A failure here therefore never delays the champion.

Delivery: write one document under the batch's id and the version. Then enter the scores into the past of the
challenger, so that it keeps its thresholds when it is promoted. Handling a message a second time changes
neither.
"""

from shotwatch_common.archive.measurements import Source
from shotwatch_common.process import ServiceContext
from shotwatch_common.turns import Turns, Urgency
from shotwatch_inference.domain.rules import apply_rules
from shotwatch_inference.models import ModelWatch
from shotwatch_inference.scoring import OwnPast, judge_batch, kinds_of, score, with_scores
from shotwatch_inference.settings import InferenceSettings
from shotwatch_shots.batch import ShotsMeasured


class Shadow:
    """The challenger's scoring: features and blocks in, scores out."""

    def __init__(
        self, context: ServiceContext[InferenceSettings], turns: Turns, challenger: ModelWatch
    ) -> None:
        self._context = context
        self._turns = turns
        self._challenger = challenger
        self._past = OwnPast(context.archive, context.facility, context.settings.false_alarms_per_hour)

    async def score(self, message: ShotsMeasured) -> None:
        """Store the challenger's judgement of a batch; do nothing if there is no challenger any more."""
        challenger, batch = self._challenger.current, message.shots
        if challenger is None:
            return
        archive, facility, version = self._context.archive, self._context.facility, challenger.ref.version
        thresholds = await self._past.thresholds(batch, version)
        scores = await score(batch, challenger.detector, self._context.store, self._turns, Urgency.IDLE)
        features = await archive.measurements.of_batch(batch.batch_id, Source.FEATURES)
        judgement = await self._turns.compute(
            Urgency.IDLE, judge_batch, batch, with_scores(features, scores), challenger.detector, thresholds
        )
        await archive.shadows.keep(batch, version, judgement.score, kinds_of(judgement.findings))
        by_rules = apply_rules(batch, features, batch.series.place.in_words, facility)
        await self._past.enter(batch, version, judgement, [*by_rules, *judgement.findings])
