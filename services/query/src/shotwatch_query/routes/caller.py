"""The caller of the API."""

from fastapi import APIRouter
from pydantic import Field

from shotwatch_query.access.guard import Known
from shotwatch_query.schema import Schema
from shotwatch_query.sources import From
from shotwatch_shots.vocabulary import Scope

router = APIRouter(tags=["facility"])


class CallerDocument(Schema):
    """The caller, and what they may do."""

    name: str = Field(description="Name of the API key, or `oidc:` and the subject of the token.")
    known: bool = Field(description="Whether callers must show a key or token; else the name proves nothing.")
    scopes: list[Scope]
    trace_url: str | None = Field(
        description="Where a trace is shown, with `{trace_id}` in it; null when there is no such place."
    )


@router.get("/caller", summary="Who asks, and what they may do")
async def get_caller(sources: From, caller: Known) -> CallerDocument:
    """Return the caller and their scopes, which a page must know before it offers any action."""
    return CallerDocument(
        name=caller.name,
        known=sources.access.required,
        scopes=sorted(caller.scopes),
        trace_url=sources.settings.query_trace_url,
    )
