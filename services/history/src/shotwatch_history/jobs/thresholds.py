"""Thresholds: report those that the past of a place has moved, and delete scores that set none any more."""

from shotwatch_common.announcing import announce
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import ServiceContext
from shotwatch_common.promotion_audit import UnprovenPromotion, proven
from shotwatch_detector.thresholds import DAY_HOURS, PAST_HOURS
from shotwatch_history.domain.thresholds import steps_of
from shotwatch_history.events import threshold_event_of
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import ModelAlias

KEEP_MS = (PAST_HOURS + DAY_HOURS) * HOUR_MS
"""Time after its last change after which an hour is deleted, in ms."""


class ThresholdWatch:
    """The periodic check of the champion's thresholds: each step of each question is reported once."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._context = context

    async def poll(self) -> None:
        """Report the steps of all thresholds, and delete old hours.

        Raises:
            Retry: the database does not answer.
        """
        archive = self._context.archive
        await archive.scored_hours.forget(epoch_now() - KEEP_MS)
        try:
            champion = await proven(archive, ModelAlias.CHAMPION)
        except UnprovenPromotion:
            return  # inference also keeps the previous model, and reports the problem
        if champion is not None and champion.version is not None:
            for expected in self._context.facility.places:
                await self._report(expected.series, champion.version)

    async def _report(self, series: ShotSeries, version: str) -> None:
        context = self._context
        newest = await context.archive.scored_hours.newest(str(series), version)
        if newest is None:
            return
        facility = context.facility.name
        events = [
            threshold_event_of(newest, kind, step, series, facility)
            for kind, step in steps_of(newest).items()
        ]
        if events:
            await announce(events, context.archive, context.bus, context.log)
