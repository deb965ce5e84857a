"""The caller of the API."""

from fastapi import APIRouter

from shotwatch_query.access.guard import Known
from shotwatch_query.schemas import CallerDocument
from shotwatch_query.sources import From

router = APIRouter(tags=["facility"])


@router.get("/caller", summary="Who asks, and what they may do")
async def get_caller(sources: From, caller: Known) -> CallerDocument:
    """Return the caller and their scopes, which a page must know before it offers any action."""
    return CallerDocument(
        name=caller.name,
        known=sources.access.required,
        scopes=sorted(caller.scopes),
        trace_url=sources.settings.query_trace_url,
    )
