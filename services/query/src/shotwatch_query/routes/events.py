"""Anomaly events: missed ones, new ones, and the schema of an event."""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from time import monotonic
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_query.access.guard import Known, require_still_admitted
from shotwatch_query.listing import BUDGET_S
from shotwatch_query.live import Listener, Outage, Reset, Revoked
from shotwatch_query.parameters import Area, Parameters
from shotwatch_query.reservation import Room
from shotwatch_query.routes.feedback import EventId, find_event
from shotwatch_query.routes.feedback.schemas import EventStanding
from shotwatch_query.schema import Schema
from shotwatch_query.settled_events import settled_end, settled_since
from shotwatch_query.sources import From
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.vocabulary import AnomalyKind, Scope, Severity

router = APIRouter(tags=["events"])
LARGEST_NUMBER = 2**53


RECONNECT_MS = 1000
Number = Annotated[int, Field(ge=0, le=LARGEST_NUMBER)]


class EventFilter(Parameters):
    """The events that are requested; a filter that is left out matches any."""

    kind: AnomalyKind | SkipJsonSchema[None] = None
    severity: Severity | SkipJsonSchema[None] = None
    place: Area = None
    interval: str | SkipJsonSchema[None] = Field(None, examples=["100ms"])

    def accepts(self, event: AnomalyEvent) -> bool:
        about = event.data
        return (
            self.kind in (None, about.kind)
            and self.severity in (None, about.severity)
            and self.interval in (None, about.interval)
            and (self.place is None or about.place.is_within(self.place))
        )


class EventSearch(EventFilter):
    """The events that are requested, one page at a time."""

    since: Number = Field(0, description="Number of the last event that is known.")
    latest: Annotated[int, Field(ge=1, le=1000)] | SkipJsonSchema[None] = Field(
        None, description="Only events among the last so many numbers."
    )
    limit: int = Field(100, ge=1, le=1000)


class StreamSearch(EventFilter):
    """The events that are requested, and the number after which they were missed."""

    since: Number | SkipJsonSchema[None] = Field(
        None, description="Number of the last event that is known; only what is new when left out."
    )


class EventPage(Schema):
    """Events in the order of their numbers, complete up to the last."""

    events: list[AnomalyEvent]
    standings: Mapping[str, EventStanding] = Field(
        description="By incident: how those of them stand that have feedback."
    )
    last: int = Field(description="Ask for events since this number next; all up to it have been searched.")
    more: bool = Field(description="Whether asking again at once may bring more.")
    reset: bool = Field(description="Whether `since` lies beyond the end; `last` is the present end then.")


async def _listen(request: Request, sources: From, caller: Known) -> AsyncIterator[Listener]:
    check = partial(require_still_admitted, request, sources, Scope.READ)
    with sources.live.listener(caller.name, check) as listener:
        yield listener


@router.get("/events", summary="Events since a number")
async def list_events(sources: From, room: Room, search: Annotated[EventSearch, Query()]) -> EventPage:
    """Return anomaly events in the order of their numbers, for a subscriber that was disconnected.

    To continue, request the events with `since` = `last`. An event is held back for up to ten seconds while
    an event with a lower number may still be stored. A subscriber that continues from `last` therefore never
    misses one. Numbers may have permanent gaps.

    `reset` is true when `since` lies beyond the end, because the database was emptied or an older copy was
    restored. In that case the response has no events, and `last` is the present end.
    """
    await room.rows(search.limit)
    stored, end = sources.archive.events, await sources.archive.events.last_number()
    if search.since > end:
        last = await settled_end(stored)
        return EventPage(events=[], standings={}, last=last, more=False, reset=True)
    found: list[AnomalyEvent] = []
    since = search.since if search.latest is None else max(search.since, end - search.latest)
    last, more, deadline = since, False, monotonic() + BUDGET_S
    async for each in settled_since(stored, since):
        if len(found) == search.limit or monotonic() > deadline:
            more = True
            break
        last = each.sequence
        if search.accepts(each.event):
            found.append(each.event)
    incidents = {event.data.incident for event in found}
    standings = await sources.archive.feedback.standings(sorted(incidents))
    shown = {incident: EventStanding.model_validate(each) for incident, each in standings.items()}
    return EventPage(events=found, standings=shown, last=last, more=more, reset=False)


@router.get("/events/stream", summary="Events as they come", response_class=EventSourceResponse)
async def stream_events(
    sources: From,
    listener: Annotated[Listener, Depends(_listen)],
    search: Annotated[StreamSearch, Query()],
    last_event_id: Annotated[
        str | SkipJsonSchema[None],
        Header(description="As a browser sends it when it comes back; counts before `since`."),
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream Server-Sent Events: first missed ones, then new ones within a second of being stored.

    - `anomaly` carries an event; its id is the event's number.
    - `database` carries `{"wrong": …}` when the database becomes unavailable, and `{"wrong": null}` when it
      is available again. No event is lost meanwhile.
    - `reset` carries `{"last": N}` when the subscriber's number lies beyond the end, because the database was
      emptied or an older copy was restored. N, which is also the id, is the present end, and the stream
      continues from there. Discard what is known of events, and read them again with `GET /events`. It is
      sent whatever the filters are.
    - `revoked` carries `{"wrong": …}` and ends the stream, about half a minute after the subscriber's key or
      token was revoked, expired or lost the scope `read`. A new request with it is answered with 401 or 403.

    A comment is sent every 15 s. The stream ends after a quarter of an hour, or when the subscriber falls
    behind: reconnect with the last id. Delivery is at least once: a subscriber that reconnects may receive an
    event again.
    """
    yield ServerSentEvent(comment="listening", retry=RECONNECT_MS)
    since = search.since if last_event_id is None else _number_of(last_event_id)
    async for news in sources.live.follow(listener, since):
        if isinstance(news, Outage):
            yield ServerSentEvent(event="database", data={"wrong": news.wrong})
        elif isinstance(news, Reset):
            yield ServerSentEvent(event="reset", id=str(news.last), data={"last": news.last})
        elif isinstance(news, Revoked):
            yield ServerSentEvent(event="revoked", data={"wrong": news.why})
        elif search.accepts(news.event):
            body = news.event.model_dump(mode="json", by_alias=True)
            yield ServerSentEvent(event="anomaly", id=str(news.sequence), data=body)


@router.get("/events/{event_id}", summary="One event")
async def get_event(sources: From, event_id: EventId) -> AnomalyEvent:
    """Return the event as it was published: a CloudEvent."""
    return await find_event(sources, event_id)


@router.get("/schemas/anomaly-event.json", summary="JSON Schema of an event")
async def get_event_schema() -> dict[str, object]:
    """Return the JSON Schema of anomaly events, here and on the exchange `anomalies`."""
    schema = AnomalyEvent.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _number_of(last_event_id: str) -> int:
    """Return the number in a `Last-Event-ID`; one beyond any end for an id that no event ever had.

    A browser that gets an error for such an id would not reconnect, and it has no other id.
    """
    known = last_event_id.isascii() and last_event_id.isdecimal()
    return min(int(last_event_id[:20]), LARGEST_NUMBER) if known else LARGEST_NUMBER
