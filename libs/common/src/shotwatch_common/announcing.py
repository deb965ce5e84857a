"""Publish anomaly events so that no event is lost and each event has exactly one sequence number."""

from collections.abc import Sequence

from shotwatch_common import faults, metrics
from shotwatch_common.archive import Archive
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
    store = archive.events
    ids = [event.id for event in events]
    stored = await store.stored(ids)
    new = [event for event in events if event.id not in stored]
    if new:
        numbers = await store.reserve([event.id for event in new])
        faults.reach("announcing.after_reserve")
        await store.add([event.numbered(numbers[event.id]) for event in new])
        faults.reach("announcing.after_store")
    waiting = await store.unpublished(ids)
    snoozed = {(each.series, each.kind) for each in await archive.feedback.snoozes(epoch_now())}
    for event in waiting:
        silent = (event.data.series, event.data.kind) in snoozed
        if not silent:
            await bus.announce(event)
        metrics.event_published(event, silent, arrived_at)
        log.info("anomaly", shot=event.subject, kind=event.data.kind, event_id=event.id, snoozed=silent)
    faults.reach("announcing.after_publish")
    await store.published(waiting)
