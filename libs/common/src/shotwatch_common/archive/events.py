"""Anomaly events: they are stored before they are published, and their numbers are never reused."""

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from pymongo.errors import DuplicateKeyError

from shotwatch_common.archive.driver import Database, Document
from shotwatch_common.archive.earliest import earliest, first
from shotwatch_common.archive.insertion import insert_new
from shotwatch_common.archive.readable import all_readable, id_of, needed, number
from shotwatch_common.archive.secantus_gaps import among
from shotwatch_common.clock import epoch_now
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.feedback import ShotSpan
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.reconciliation.sides import EventNumbers, StoredEvent
from shotwatch_shots.vocabulary import Phase

T = TypeVar("T")
_NAME = "events"
_COUNTER = "events"
_MODEL_VERSION = "event.data.model.version"
_INCIDENT = "event.data.incident"
_BEGINNINGS = (Phase.OPENED, Phase.PASSED)
"""The phases of which each incident has exactly one event."""


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """A stored event with its sequence number."""

    sequence: int
    stored_at: int
    """Epoch ms."""
    event: AnomalyEvent


@dataclass(frozen=True, slots=True)
class _Reservation:
    """A sequence number that is reserved for an event."""

    number: int
    at: int
    """When it was reserved, epoch ms."""


@dataclass(frozen=True, slots=True)
class _Counter:
    """The sequence numbers: the highest reserved one, and the reservations by event id."""

    value: int
    reserved: Mapping[str, _Reservation]


class Events:
    """Collection `events`: `_id` is the event id; `published_at` is 0 until the broker has confirmed it.

    The document `events` of the collection `counters` holds the sequence numbers. `value` is the highest
    reserved number. `reserved` holds the reservations of events that are not published yet. If two replicas
    number the same event at once, the event is stored under the number of the faster replica, and the other
    number stays in `reserved` for good: it explains to the reconciliation why no event has that number. If
    this document is malformed, reading it raises Retry, and events wait.
    """

    def __init__(self, database: Database) -> None:
        self._events = database[_NAME]
        self._counters = database["counters"]

    async def ensure_indexes(self) -> None:
        await self._events.create_index([("sequence", 1)])
        await self._events.create_index([("shot", 1)])
        await self._events.create_index([("published_at", 1)])
        await self._events.create_index([("time", 1)])
        await self._events.create_index([("stored_at", 1)])
        await self._events.create_index([(_MODEL_VERSION, 1)])
        await self._events.create_index([(_INCIDENT, 1)])

    async def reserve(self, event_ids: Sequence[str]) -> dict[str, int]:
        """Return a sequence number for each event; repeated calls return the same number.

        The counter keeps a reservation until its event is published. So a crash in between leaves no gap: the
        next attempt gets the number that is reserved for the event.
        """
        while True:
            counter = await self._counter()
            if counter is None:
                await self._begin_counting()
                continue
            taken, reserved = counter.value, counter.reserved
            new = [event_id for event_id in event_ids if event_id not in reserved]
            given = {id_: _Reservation(taken + n, epoch_now()) for n, id_ in enumerate(new, 1)}
            changes = {f"reserved.{id_}": asdict(reservation) for id_, reservation in given.items()}
            # Compare-and-set on `value`: if another replica has reserved numbers meanwhile, nothing matches,
            # and the loop reads the counter again.
            result = await self._counters.update_one(
                {"_id": _COUNTER, "value": taken}, {"$set": {"value": taken + len(new), **changes}}
            )
            if result.matched_count:
                return {event_id: {**reserved, **given}[event_id].number for event_id in event_ids}

    async def first_stored(self, start_ms: int, end_ms: int) -> int | None:
        """Return when the first event was stored in [start, end) (epoch ms); None if there is none."""
        return await earliest(self._events, _NAME, "stored_at", start_ms, end_ms)

    async def stored_between(self, start_ms: int, end_ms: int) -> list[StoredEvent]:
        """Return the numbers of the events that were stored in [start, end) (epoch ms)."""
        then = {"stored_at": {"$gte": start_ms, "$lt": end_ms}}
        wanted = {"sequence": 1, "stored_at": 1, "published_at": 1, "event.data.sequence": 1}
        return await _decoded(self._events.find(then, wanted), _stored_event)

    async def reserved_at(self) -> list[int]:
        """Return the times (epoch ms) of the reservations."""
        counter = await self._counter()
        return [each.at for each in counter.reserved.values()] if counter else []

    async def numbers(self, around: Sequence[int]) -> EventNumbers:
        """Return the stored numbers from the lowest to the highest of `around`, and their neighbours.

        With an empty `around`, return the last stored number and the highest reserved number.
        """
        counter = await self._counter() or _Counter(0, {})
        highest = max(counter.value, *around) if around else counter.value
        first, last = (min(around), max(around)) if around else (highest + 1, highest)
        within = {"sequence": {"$gte": first, "$lte": last}}
        stored = await _decoded(self._events.find(within, {"sequence": 1}), _sequence)
        reserved = counter.reserved
        void = await self._numbers_of(list(reserved))
        return EventNumbers(
            await self._nearest({"$gte": 1, "$lt": first}, -1) or 0,
            stored,
            last + 1 if await self._nearest({"$gt": last, "$lte": highest}, 1) else highest + 1,
            counter.value,
            {each.number: each.at for id_, each in reserved.items() if id_ not in void},
            frozenset(each.number for id_, each in reserved.items() if id_ in void),
        )

    async def _numbers_of(self, event_ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those of these events that are stored."""
        found = among(self._events, "_id", event_ids, {"sequence": 1})
        return dict(await _decoded(found, lambda each: (id_of(each), _sequence(each))))

    async def _nearest(self, numbers: Mapping[str, int], order: int) -> int | None:
        """Return the lowest stored number in a range, or the highest for order -1; None if there is none."""
        return await first(
            lambda: self._events.find({"sequence": numbers}, {"sequence": 1}).sort("sequence", order),
            _sequence,
            _NAME,
        )

    async def stored(self, event_ids: Sequence[str]) -> dict[str, AnomalyEvent]:
        """Return those of these events that are already stored."""
        found = among(self._events, "_id", event_ids, {"event": 1})
        return {event.id: event for event in await _decoded(found, _event)}

    async def add(self, events: Sequence[AnomalyEvent]) -> bool:
        """Store events; one that exists already stays unchanged. Return whether all of them were new."""
        return await insert_new(self._events, [_document(event) for event in events])

    async def unpublished(self, event_ids: Sequence[str]) -> list[AnomalyEvent]:
        """Return those of these events that the broker has not confirmed yet, sorted by number."""
        waiting = {"_id": {"$in": list(event_ids)}, "published_at": 0}
        found = self._events.find(waiting, {"event": 1})
        return sorted(await _decoded(found, _event), key=lambda event: event.data.sequence)

    async def published(self, events: Sequence[AnomalyEvent]) -> None:
        """Remove the reservations of these stored events, then mark the events as confirmed by the broker.

        After a crash in between, the events are published again, and this is repeated.
        """
        if not events:
            return
        await self._release({event.id: event.data.sequence for event in events})
        ids = [event.id for event in events]
        await self._events.update_many({"_id": {"$in": ids}}, {"$set": {"published_at": epoch_now()}})

    async def _release(self, numbers: Mapping[str, int]) -> None:
        """Remove the reservations of these numbers; `numbers`: event id → number."""
        counter = await self._counter() or _Counter(0, {})
        held = {id_: reservation.number for id_, reservation in counter.reserved.items()}
        fulfilled = {f"reserved.{id_}": "" for id_, number in numbers.items() if held.get(id_) == number}
        if fulfilled:
            await self._counters.update_one({"_id": _COUNTER}, {"$unset": fulfilled})

    async def of_shots(self, shots: Sequence[str]) -> list[AnomalyEvent]:
        """Return all events of these shots, at every revision."""
        found = among(self._events, "shot", shots, {"event": 1})
        return await _decoded(found, _event)

    async def between(self, start_ms: int, end_ms: int) -> list[AnomalyEvent]:
        """Return the events about shots with start <= pulse < end (epoch ms), of all places."""
        then = {"time": {"$gte": start_ms, "$lt": end_ms}}
        return await _decoded(self._events.find(then, {"event": 1}), _event)

    async def any_of(self, series: ShotSeries, start_ms: int, end_ms: int) -> bool:
        """Return whether there is an event of a series with start <= time < end (epoch ms)."""
        found = self._events.find({"time": {"$gte": start_ms, "$lt": end_ms}}, {"place": 1, "interval": 1})
        of_series = (str(series.place), series.interval)
        return of_series in await _decoded(found, lambda each: (each["place"], each["interval"]))

    async def spans(self, incidents: Sequence[str]) -> dict[str, ShotSpan]:
        """Return the first and last shot (epoch ms) of each of these incidents, by their stored events."""
        spans: dict[str, ShotSpan] = {}
        for event in await _decoded(among(self._events, _INCIDENT, incidents, {"event": 1}), _event):
            data = event.data
            since, until = spans.get(data.incident, (data.since, data.until))
            spans[data.incident] = min(since, data.since), max(until, data.until)
        return spans

    async def find(self, event_id: str) -> AnomalyEvent | None:
        return (await self.stored([event_id])).get(event_id)

    async def numbered(self, after: int, last: int) -> list[NumberedEvent]:
        """Return the stored events with after < sequence <= last, sorted by number; some may be missing."""
        wanted = {"sequence": 1, "stored_at": 1, "event": 1}
        found = self._events.find({"sequence": {"$gt": after, "$lte": last}}, wanted).sort("sequence", 1)
        return await _decoded(found, _numbered_event)

    async def last_number(self) -> int:
        """Return the highest reserved sequence number; 0 if there is none."""
        counter = await self._counter()
        return counter.value if counter else 0

    async def _counter(self) -> "_Counter | None":
        return needed(await self._counters.find_one({"_id": _COUNTER}), _decoded_counter, "counters")

    async def raised(self, models: Sequence[str]) -> dict[str, int]:
        """Return how many incidents, not events, each of these model versions raised."""
        groups = self._events.aggregate(
            [
                {
                    "$match": {
                        _MODEL_VERSION: {"$in": list(models)},
                        "event.data.phase": {"$in": list(_BEGINNINGS)},
                    }
                },
                {"$group": {"_id": f"${_MODEL_VERSION}", "count": {"$sum": 1}}},
            ]
        )
        counted = await _decoded(groups, lambda group: (id_of(group), number(group["count"])))
        return dict.fromkeys(models, 0) | dict(counted)

    async def _begin_counting(self) -> None:
        try:
            await self._counters.insert_one({"_id": _COUNTER, "value": 0, "reserved": {}})
        except DuplicateKeyError:
            return


async def _decoded(documents: AsyncIterable[Document], decode: Callable[[Document], T]) -> list[T]:
    return await all_readable(documents, decode, _NAME)


def _decoded_counter(document: Document) -> _Counter:
    reserved = {
        id_: _Reservation(number(each["number"]), number(each["at"]))
        for id_, each in document["reserved"].items()
    }
    return _Counter(number(document["value"]), reserved)


def _sequence(document: Document) -> int:
    return number(document["sequence"])


def _event(document: Document) -> AnomalyEvent:
    return AnomalyEvent.model_validate(document["event"])


def _numbered_event(document: Document) -> NumberedEvent:
    return NumberedEvent(_sequence(document), number(document["stored_at"]), _event(document))


def _stored_event(document: Document) -> StoredEvent:
    return StoredEvent(
        id_of(document),
        _sequence(document),
        number(document["event"]["data"]["sequence"]),
        number(document["stored_at"]),
        number(document["published_at"]),
    )


def _document(event: AnomalyEvent) -> Document:
    data = event.data
    return {
        "_id": event.id,
        "sequence": data.sequence,
        "shot": data.shot,
        "revision": data.revision,
        "kind": data.kind,
        "severity": data.severity,
        "place": str(data.place),
        "interval": data.interval,
        "time": data.time,
        "stored_at": epoch_now(),
        "published_at": 0,
        "event": event.model_dump(mode="json", by_alias=True),
    }
