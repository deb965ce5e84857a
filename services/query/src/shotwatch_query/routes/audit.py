"""The audit: who made which change."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from shotwatch_common.archive.audit import AuditLine
from shotwatch_common.clock import epoch_now
from shotwatch_query.domain.pages import Position, Span
from shotwatch_query.listing import Listing, in_slices
from shotwatch_query.parameters import PageParameters
from shotwatch_query.reservation import Room
from shotwatch_query.schema import Instant, Schema
from shotwatch_query.sources import From
from shotwatch_shots.pulses import WINDOW_MS
from shotwatch_shots.vocabulary import ChangeOutcome

router = APIRouter(tags=["audit"])


class Change(Schema):
    """A change that a caller requested, or that was made from the command line."""

    at: Instant
    who: str = Field(
        description="Name of the API key, `oidc:` and the subject of the token,"
        " or `os:` and the user and machine of a command line."
    )
    what: str = Field(description="Name of the operation.", examples=["give_feedback"])
    which: str = Field(description="What it was about; of a request, its path.")
    outcome: ChangeOutcome
    status: int | None = Field(description="HTTP status of the answer; null where no request was made.")
    trace_id: str = Field(description="Of the change's trace; empty when it had none.")
    address: str = Field(description="From which a request came; empty where no request was made.")
    count: int = Field(
        description="Requests that it stands for: one, or those refused or without a route in the rest of a"
        " minute."
    )


class AuditPage(Schema):
    """One page of the audit."""

    changes: list[Change]
    next: str | None = Field(description="Cursor of the next page; null when there is none.")


@router.get("/audit", summary="Who made which change")
async def list_audit(sources: From, room: Room, search: Annotated[PageParameters, Query()]) -> AuditPage:
    """Return changes that known callers requested, also refused ones, and those made from the command line.

    Without `to` the span ends now.
    """

    async def fetch(span: Span, limit: int) -> Sequence[tuple[str, AuditLine]]:
        lines = await sources.archive.audit.page(span.start, span.end, limit, search.newest_first)
        return list(lines.items())

    read = in_slices(fetch, search.newest_first)
    listing = Listing(read, lambda stored: Position(stored[1].at, stored[0]), search.newest_first)
    cursor = search.read_cursor() or listing.first_page(search.span(epoch_now() + WINDOW_MS))
    await room.rows(search.limit)
    stored, following = await listing.page(cursor, search.limit)
    changes = [Change.model_validate(line) for _, line in stored]
    return AuditPage(changes=changes, next=following and following.encode())
