"""Anomaly events: what a subscriber missed, and the schema of an event."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.contracts import AnomalyEvent
from shotwatch_common.pulses import epoch_now
from shotwatch_common.vocabulary import AnomalyKind, Severity
from shotwatch_query.domain.settled import Numbered, settled
from shotwatch_query.listing import BUDGET_S, Document
from shotwatch_query.parameters import Parameters
from shotwatch_query.routes.feedback import EventId, event_standing, find_event
from shotwatch_query.schemas import EventPage
from shotwatch_query.sources import From, Sources

router = APIRouter(tags=["events"])
LARGEST_NUMBER = 2**53
SLICE = 200
"""How many numbers are read at once."""


class EventSearch(Parameters):
    """Which events; a filter that is left out asks for any."""

    since: int = Field(0, ge=0, le=LARGEST_NUMBER, description="Number of the last event that is known.")
    latest: Annotated[int, Field(ge=1, le=1000)] | SkipJsonSchema[None] = Field(
        None, description="Only events among the last so many numbers."
    )
    limit: int = Field(100, ge=1, le=1000)
    kind: AnomalyKind | SkipJsonSchema[None] = None
    severity: Severity | SkipJsonSchema[None] = None
    frontend: str | SkipJsonSchema[None] = Field(None, examples=["LA"])
    amp: str | SkipJsonSchema[None] = Field(None, examples=["A1"])
    arm: str | SkipJsonSchema[None] = Field(None, description="`00` = no arm.", examples=["11"])
    interval: str | SkipJsonSchema[None] = Field(None, examples=["100ms"])

    def accepts(self, document: Document) -> bool:
        wanted = self.model_dump(exclude={"since", "latest", "limit"}, exclude_none=True)
        return all(document[field] == value for field, value in wanted.items())


@router.get("/events", summary="Events since a number")
async def list_events(sources: From, search: Annotated[EventSearch, Query()]) -> EventPage:
    """Anomaly events in the order of their numbers, for a subscriber who was away.

    Ask again with `since` = `last`. An event whose predecessors may still be on their way is held back for up
    to ten seconds, so that whoever goes on from `last` never misses one. Numbers may have gaps that stay.
    """
    found: list[AnomalyEvent] = []
    since = await _beginning(sources, search)
    last, more, deadline = since, False, monotonic() + BUDGET_S
    async for document in _settled_since(sources, since):
        if len(found) == search.limit or monotonic() > deadline:
            more = True
            break
        last = document["sequence"]
        if search.accepts(document):
            found.append(AnomalyEvent.model_validate(document["event"]))
    conditions = {event.data.condition for event in found}
    standings = await sources.archive.feedback.standings(sorted(conditions))
    told = {condition: event_standing(each) for condition, each in standings.items()}
    return EventPage(events=found, standings=told, last=last, more=more)


@router.get("/events/{event_id}", summary="One event")
async def get_event(sources: From, event_id: EventId) -> AnomalyEvent:
    """The event as it was published: a CloudEvent."""
    return await find_event(sources, event_id)


@router.get("/schemas/anomaly-event.json", summary="JSON Schema of an event")
async def get_event_schema() -> dict[str, Any]:
    """The contract of anomaly events, here and on the exchange `anomalies`."""
    schema = AnomalyEvent.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


async def _beginning(sources: Sources, search: EventSearch) -> int:
    """The number after which the search begins."""
    if search.latest is None:
        return search.since
    return max(search.since, await sources.archive.events.last_number() - search.latest)


async def _settled_since(sources: Sources, since: int) -> AsyncIterator[Document]:
    """Stored events after `since`, up to the first whose predecessors may still come."""
    events = sources.archive.events
    end, width = await events.last_number(), SLICE
    while since < end:
        documents = await events.numbered(since, min(since + width, end))
        numbers = [Numbered(document["sequence"], document["stored_at"]) for document in documents]
        ready = settled(numbers, since, epoch_now())
        for document in documents[:ready]:
            yield document
        if ready < len(documents) or since + width >= end:
            return
        since, width = (numbers[-1].sequence, SLICE) if numbers else (since, 2 * width)
