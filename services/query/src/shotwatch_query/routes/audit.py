"""The audit: who made which change."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from shotwatch_common.archive.audit import AuditLine
from shotwatch_common.clock import epoch_now
from shotwatch_query.domain.pages import Position, Span
from shotwatch_query.listing import Document, Listing
from shotwatch_query.parameters import PageParameters
from shotwatch_query.reservation import Room
from shotwatch_query.schemas import AuditPage, Change
from shotwatch_query.sources import From
from shotwatch_shots.pulses import WINDOW_MS, instant

router = APIRouter(tags=["audit"])


@router.get("/audit", summary="Who made which change")
async def list_audit(sources: From, room: Room, search: Annotated[PageParameters, Query()]) -> AuditPage:
    """Return changes that known callers requested, also refused ones, and those made from the command line.

    Without `to` the span ends now.
    """

    async def fetch(span: Span, limit: int) -> Sequence[Document]:
        return await sources.archive.audit.page(span.start, span.end, limit, search.newest_first)

    listing = Listing(fetch, lambda each: Position(each["at"], each["_id"]), search.newest_first)
    cursor = search.read_cursor() or listing.first_page(search.span(epoch_now() + WINDOW_MS))
    await room.rows(search.limit)
    documents, following = await listing.page(cursor, search.limit)
    changes = [_told(AuditLine.of(document)) for document in documents]
    return AuditPage(changes=changes, next=following and following.encode())


def _told(line: AuditLine) -> Change:
    return Change(**{**asdict(line), "at": instant(line.at)})
