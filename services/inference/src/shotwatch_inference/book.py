"""The incident store: the incidents of each place, kept in the archive and changed by compare-and-set."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from shotwatch_common.archive import Archive
from shotwatch_inference.domain.conditions import Condition, Sighting, Telling, Watch, follow
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.vocabulary import AnomalyKind, Severity

REMEMBERED_BATCHES = 100
"""Number of batches that are remembered per place; a batch delivered again later counts as new."""

NOTHING: Mapping[str, Any] = {"version": 0, "open": [], "over": [], "batches": [], "outbox": {}}
TellEvents = Callable[[Sequence[Telling]], list[AnomalyEvent]]


class Book:
    """The incidents in the archive. Each batch is entered once, however often it is delivered."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(
        self,
        batch: ShotBatch,
        sightings: Sequence[Sighting],
        quiet: int,
        events_of: TellEvents,
        withdrawn: Collection[str] = (),
    ) -> list[AnomalyEvent]:
        """Update the incidents with the batch's observations.

        Return the events to publish. They stay in the outbox until `told` is called. `withdrawn` are the ids
        of incidents that the batch shows to be false.
        """
        place = _key(batch)
        async with self._locks[place]:
            while True:
                document = await self._archive.conditions.load(place) or {"_id": place, **NOTHING}
                if batch.batch_id in document["batches"]:
                    return _events(document["outbox"].get(batch.batch_id, []))
                before = _watch_of(document)
                after, tellings = follow(before.without(withdrawn), sightings, int(batch.pulses.max()), quiet)
                events = events_of(tellings)
                if after == before and not events:
                    return []
                if await self._archive.conditions.save(_entered(document, batch.batch_id, after, events)):
                    return events

    async def told(self, batch: ShotBatch) -> None:
        """Record that the batch's events have reached the broker."""
        await self._archive.conditions.strike_off(_key(batch), batch.batch_id)


def _key(batch: ShotBatch) -> str:
    return str(batch.series)


def _entered(
    document: Mapping[str, Any], batch_id: str, watch: Watch, events: Sequence[AnomalyEvent]
) -> dict[str, Any]:
    waiting = {batch_id: [event.model_dump_json(by_alias=True) for event in events]} if events else {}
    return {
        "_id": document["_id"],
        "version": document["version"] + 1,
        "open": [_stored(condition) for condition in watch.open.values()],
        "over": [_stored(condition) for condition in watch.over],
        "batches": [*document["batches"], batch_id][-REMEMBERED_BATCHES:],
        "outbox": {**document["outbox"], **waiting},
    }


def _events(stored: Sequence[str]) -> list[AnomalyEvent]:
    return [AnomalyEvent.model_validate_json(event) for event in stored]


def _stored(condition: Condition) -> dict[str, Any]:
    names = {"kind": condition.kind.value, "severity": condition.severity.value}
    return {**asdict(condition), "devices": list(condition.devices), **names}


def _watch_of(document: Mapping[str, Any]) -> Watch:
    still_open = [_condition(each) for each in document["open"]]
    return Watch({each.kind: each for each in still_open}, tuple(map(_condition, document["over"])))


def _condition(stored: Mapping[str, Any]) -> Condition:
    kind, severity = AnomalyKind(stored["kind"]), Severity(stored["severity"])
    return Condition(**{**stored, "kind": kind, "severity": severity, "devices": tuple(stored["devices"])})
