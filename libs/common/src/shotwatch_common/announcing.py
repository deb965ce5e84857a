"""Publish anomaly events so that no event is lost and each event has exactly one sequence number."""

import asyncio
from collections.abc import Sequence

from shotwatch_common import faults, metrics
from shotwatch_common.archive import Archive
from shotwatch_common.archive.events import Events
from shotwatch_common.bus import MessageBus
from shotwatch_common.clock import epoch_now
from shotwatch_common.telemetry import Log
from shotwatch_shots.event import AnomalyEvent


async def announce(
    events: Sequence[AnomalyEvent], archive: Archive, bus: MessageBus, log: Log, arrived_at: int | None = None
) -> None:
    """Store events with their numbers, publish them and mark them as published, in that order.

    The call can be repeated with the same events after a crash at any step: it publishes the events that are
    not marked as published. A subscriber may therefore receive an event twice, with the same id and number. A
    snoozed event is numbered and stored like the others, but it is not published.

    `arrived_at` is the time at which the store received the last file of the shots (epoch ms), None if it is
    not known. A metric records the latency from that time to publication.
    """
    waiting, snoozes = await asyncio.gather(
        _store(events, archive.events), archive.feedback.snoozes(epoch_now())
    )
    snoozed = {(each.series, each.kind) for each in snoozes}
    for event in waiting:
        silent = (event.data.series, event.data.kind) in snoozed
        if not silent:
            await bus.announce(event)
        metrics.event_published(event, silent, arrived_at)
        log.info("anomaly", shot=event.subject, kind=event.data.kind, event_id=event.id, snoozed=silent)
    faults.reach("announcing.after_publish")
    await archive.events.published(waiting)


async def _store(events: Sequence[AnomalyEvent], store: Events) -> list[AnomalyEvent]:
    """Store the events that are not stored yet; return those to publish, with and by their numbers."""
    ids = [event.id for event in events]
    stored = await store.stored(ids)
    new = [event for event in events if event.id not in stored]
    if new:
        numbers = await store.reserve([event.id for event in new])
        faults.reach("announcing.after_reserve")
        numbered = sorted(
            (event.numbered(numbers[event.id]) for event in new), key=lambda event: event.data.sequence
        )
        all_new = await store.add(numbered)
        faults.reach("announcing.after_store")
        if all_new and not stored:
            return numbered
    return await store.unpublished(ids)
