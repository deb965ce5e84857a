"""The ledger: the final states of objects, a listing of objects, and the history of each."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.clock import epoch_now
from shotwatch_operations.reconciliation.tallying import tally_of
from shotwatch_query.domain.pages import Position, Span
from shotwatch_query.errors import NotFound
from shotwatch_query.listing import Listing, in_slices
from shotwatch_query.parameters import PageParameters, SpanParameters
from shotwatch_query.reservation import Room
from shotwatch_query.routes.ledger.schemas import (
    LedgerEquality,
    LedgerObject,
    LedgerPage,
    LedgerReport,
    LedgerStep,
)
from shotwatch_query.sources import From
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.ledger import ObjectEntry
from shotwatch_shots.pulses import WINDOW_MS
from shotwatch_shots.reconciliation.slices import Equality
from shotwatch_shots.reconciliation.summary import Summary, summaries_of
from shotwatch_shots.vocabulary import ObjectState

router = APIRouter(prefix="/ledger", tags=["ledger"])
_SLICE_BYTES = 2048
"""Memory for the result of one equality in one hour, in bytes."""
_OBJECT_BYTES = 96 * 1024
"""Memory for an object with the longest history, key and explanation, in bytes: 85 kB were measured."""


class LedgerSearch(PageParameters):
    """The objects that are requested, by their arrival."""

    state: ObjectState | SkipJsonSchema[None] = Field(None, description="Objects in this state.")


@router.get("", summary="Does the ledger add up?")
async def get_balance(sources: From, room: Room, asked: Annotated[SpanParameters, Query()]) -> LedgerReport:
    """Return the states of the objects that arrived in a span of time, and whether all sources agree.

    The sources are compared in the background, by hour or day, after something in it changed; this returns
    the latest results. Without `to` the span ends now.
    """
    span = _span(asked)
    await room.bytes((span.end - span.start) // HOUR_MS * len(Equality) * _SLICE_BYTES)
    results = await sources.archive.reconciliations.overlapping(span.start, span.end)
    tally = await tally_of(sources.archive, results, span.start, span.end)
    summaries = summaries_of(results)
    return LedgerReport(
        start=span.start,
        end=span.end,
        objects=tally.objects,
        bytes=tally.bytes,
        states=tally.states,
        reasons=tally.reasons,
        equalities=list(map(LedgerEquality.model_validate, summaries)),
        adds_up=_adds_up(summaries),
        shots_deleted_until=await sources.archive.retention.expired_until(),
    )


def _adds_up(summaries: Sequence[Summary]) -> bool | None:
    """Return whether all sources agree; None while a part of the span, or the inbox, was never checked."""
    if any(summary.imbalances for summary in summaries):
        return False
    unchecked = any(summary.unchecked for summary in summaries)
    inbox_checked = any(summary.slices for summary in summaries if summary.equality is Equality.INBOX)
    return None if unchecked or not inbox_checked else True


@router.get("/objects", summary="Objects by arrival")
async def list_objects(sources: From, room: Room, search: Annotated[LedgerSearch, Query()]) -> LedgerPage:
    """Return the objects that arrived in a span of time, one page at a time.

    Without `to` the span ends now.
    """

    async def fetch(span: Span, limit: int) -> Sequence[ObjectEntry]:
        return await sources.archive.ledger.objects(
            span.start, span.end, search.state, limit, search.newest_first
        )

    listing = Listing(in_slices(fetch, search.newest_first), _position, search.newest_first)
    cursor = search.read_cursor() or listing.first_page(_span(search))
    await room.bytes(search.limit * _OBJECT_BYTES)
    entries, following = await listing.page(cursor, search.limit)
    return LedgerPage(objects=list(map(_object, entries)), next=following and following.encode())


@router.get("/objects/{object_id}", summary="The history of an object")
async def get_object(
    sources: From, object_id: Annotated[str, Path(description="Id of an object version.")]
) -> LedgerObject:
    """Return where an object is, and what happened to it, when and why."""
    entry = await sources.archive.ledger.find(object_id)
    if entry is None:
        raise NotFound(f"the ledger has no object {object_id}")
    return _object(entry)


def _span(asked: SpanParameters) -> Span:
    """Return the requested span; without `to` it ends a minute from now, as clocks may differ."""
    return asked.span(end_of_data=epoch_now() + WINDOW_MS)


def _position(entry: ObjectEntry) -> Position:
    return Position(entry.ref.arrived_at, entry.ref.object_id)


def _object(entry: ObjectEntry) -> LedgerObject:
    return LedgerObject(
        id=entry.ref.object_id,
        bucket=entry.ref.bucket,
        key=entry.ref.key,
        etag=entry.ref.etag,
        size=entry.ref.size,
        arrived_at=entry.ref.arrived_at,
        state=entry.state,
        reason=entry.reason,
        detail=entry.detail,
        facts={
            "location": entry.location and {"bucket": entry.location[0], "key": entry.location[1]},
            "seen_at": entry.seen_at,
            "joined_at": entry.joined_at,
            **entry.facts,
        },
        history=list(map(LedgerStep.model_validate, entry.history)),
    )
