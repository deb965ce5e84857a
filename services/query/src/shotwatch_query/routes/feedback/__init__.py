"""Feedback on events: what people state about them through this API."""

from collections.abc import Sequence
from typing import Annotated

import structlog
from fastapi import APIRouter, BackgroundTasks, Body, Path, Query
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common import metrics
from shotwatch_common.clock import epoch_now
from shotwatch_query.access import ANYBODY
from shotwatch_query.access.guard import Known
from shotwatch_query.domain.pages import Position, Span
from shotwatch_query.errors import BadRequest, Full, NotFound
from shotwatch_query.listing import Listing, in_slices
from shotwatch_query.opinions import Opinion, SnoozeUntil
from shotwatch_query.parameters import PageParameters
from shotwatch_query.problems import AWAY
from shotwatch_query.reservation import Room
from shotwatch_query.routes.feedback.schemas import (
    EventFeedback,
    EventStanding,
    FeedbackPage,
    FeedbackStatement,
)
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.event import AnomalyEvent
from shotwatch_shots.feedback import (
    LONGEST_SNOOZE_MS,
    MOST_STATEMENTS,
    VERDICTS,
    Statement,
    in_order,
    standing,
)
from shotwatch_shots.pulses import WINDOW_MS
from shotwatch_shots.vocabulary import FeedbackAction

router = APIRouter(tags=["events"])
giving = APIRouter(tags=["events"])

MOST_OF_CALLER = 40
"""Maximum number of statements of one caller about one incident: MOST_STATEMENTS takes five callers."""

EventId = Annotated[str, Path(description="Id of an event.")]


class FeedbackSearch(PageParameters):
    """The statements that are requested, by the time at which they were made."""

    action: FeedbackAction | SkipJsonSchema[None] = None


@giving.post(
    "/events/{event_id}/feedback",
    summary="Give feedback on an event",
    status_code=201,
    responses={409: {}},
)
async def give_feedback(
    sources: From,
    caller: Known,
    event_id: EventId,
    opinion: Annotated[Opinion, Body()],
    later: BackgroundTasks,
) -> FeedbackStatement:
    """Acknowledge an event, snooze its kind at its place, mark it as false, or confirm it with a label.

    A statement is never changed: to correct one, make another; the newest counts. Verdicts are kept for
    training, and counted in the record of the model that raised the event. `who` is the name that you give
    yourself; the name of your key or the subject of your token is stored and shown beside it.
    """
    event, now = await find_event(sources, event_id), epoch_now()
    if isinstance(opinion, SnoozeUntil):
        _require_soon(opinion.until, now)
    name = "" if caller is ANYBODY else caller.name
    statement = Statement.about(event, at=now, caller=name, **opinion.model_dump())
    async with sources.feedback_lock:
        await _require_room(sources, statement)
        await sources.archive.feedback.add(statement)
    metrics.OPINIONS.labels(statement.action).inc()
    if statement.model is not None and statement.action in VERDICTS:
        later.add_task(_count_in_registry, sources, statement.model)
    return FeedbackStatement.model_validate(statement)


@router.get("/events/{event_id}/feedback", summary="The feedback on an event")
async def get_feedback(sources: From, event_id: EventId) -> EventFeedback:
    """Return all statements about the incident of an event, oldest first, and those that count."""
    event = await find_event(sources, event_id)
    statements = await sources.archive.feedback.of_incident(event.data.incident)
    return EventFeedback(
        standing=EventStanding.model_validate(standing(statements)),
        statements=list(map(FeedbackStatement.model_validate, in_order(statements))),
    )


@router.get("/feedback", summary="Feedback by time")
async def list_feedback(
    sources: From, room: Room, search: Annotated[FeedbackSearch, Query()]
) -> FeedbackPage:
    """Return the statements about all events in a span of time, one page at a time.

    Without `to` the span ends now.
    """

    async def fetch(span: Span, limit: int) -> Sequence[Statement]:
        return await sources.archive.feedback.page(
            search.action, span.start, span.end, limit, search.newest_first
        )

    read = in_slices(fetch, search.newest_first)
    listing = Listing(read, lambda statement: Position(statement.at, statement.id), search.newest_first)
    cursor = search.read_cursor() or listing.first_page(search.span(epoch_now() + WINDOW_MS))
    await room.rows(search.limit)
    statements, following = await listing.page(cursor, search.limit)
    shown = list(map(FeedbackStatement.model_validate, statements))
    return FeedbackPage(statements=shown, next=following and following.encode())


async def find_event(sources: ApiSources, event_id: str) -> AnomalyEvent:
    """Return an event.

    Raises:
        NotFound: there is no such event.
    """
    event = await sources.archive.events.find(event_id)
    if event is None:
        raise NotFound(f"there is no event {event_id}")
    return event


def _require_soon(until: int, now: int) -> None:
    if not now < until <= now + LONGEST_SNOOZE_MS:
        raise BadRequest(f"until: not within the next {LONGEST_SNOOZE_MS // DAY_MS} days")


async def _require_room(sources: ApiSources, statement: Statement) -> None:
    """Require that another statement about this incident is allowed.

    Raises:
        Full: the caller, or all callers together, reached the limit of statements.
    """
    incident, caller = statement.incident, statement.caller
    if (count := await sources.archive.feedback.count(incident, caller)) >= MOST_OF_CALLER:
        raise Full(
            f"{caller or 'you'} made {count} statements about incident {incident} already, and may make "
            f"{MOST_OF_CALLER}; another key or token still may"
        )
    if (count := await sources.archive.feedback.count(incident)) >= MOST_STATEMENTS:
        raise Full(
            f"incident {incident} has {count} statements already, and may have {MOST_STATEMENTS}; the "
            "audit records who made them"
        )


async def _count_in_registry(sources: ApiSources, model: str) -> None:
    """Store the version's verdicts in the registry; if a server is away, the next verdict does this."""
    try:
        async with sources.counting:
            counts = (await sources.archive.feedback.verdicts([model]))[model]
            await sources.registry.tag(model, {action: str(counts[action]) for action in sorted(VERDICTS)})
    except AWAY as error:
        structlog.get_logger().warning("verdicts not counted in the registry", model=model, why=str(error))
