"""The ledger: how objects ended, which ones, and the history of each."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from shotwatch_common.pulses import WINDOW_MS, epoch_now, instant
from shotwatch_common.vocabulary import ObjectState
from shotwatch_query.domain.pages import Span
from shotwatch_query.errors import NotFound
from shotwatch_query.listing import Document, Listing
from shotwatch_query.parameters import PageParameters, SpanParameters
from shotwatch_query.schemas import Balance, LedgerObject, LedgerPage, LedgerStep
from shotwatch_query.sources import From

router = APIRouter(prefix="/ledger", tags=["ledger"])
_COLUMNS = {*LedgerObject.model_fields, "_id", "since"}


class LedgerSearch(PageParameters):
    """Which objects, by their arrival."""

    state: ObjectState | SkipJsonSchema[None] = Field(None, description="Objects in this state.")


@router.get("", summary="Do the objects add up?")
async def get_balance(sources: From, asked: Annotated[SpanParameters, Query()]) -> Balance:
    """How the objects that arrived in a span of time ended, and the shots that came of them.

    `objects = ingested + rejected + ignored + waiting + dead_lettered`, `shots = judged + waiting +
    dead_lettered`. Without `to` the span ends now.
    """
    span = _span(asked)
    balance = await sources.archive.ledger.balance(span.start, span.end)
    shots = await sources.archive.batches.balance(span.start, span.end)
    return Balance(
        start=instant(span.start),
        end=instant(span.end),
        objects=balance["in"],
        bytes=balance["bytes"],
        states=balance["states"],
        reasons=balance["reasons"],
        shots=shots["in"],
        shot_states=shots["states"],
        adds_up=balance["in"] == sum(balance["states"].values()),
    )


@router.get("/objects", summary="Objects by arrival")
async def list_objects(sources: From, search: Annotated[LedgerSearch, Query()]) -> LedgerPage:
    """The objects that arrived in a span of time, a page at a time. Without `to` the span ends now."""

    async def fetch(span: Span, limit: int) -> Sequence[Document]:
        return await sources.archive.ledger.objects(
            span.start, span.end, search.state, limit, search.newest_first
        )

    listing = Listing(fetch, "arrived_at", search.newest_first)
    cursor = search.read_cursor() or listing.first_page(_span(search))
    documents, following = await listing.page(cursor, search.limit)
    return LedgerPage(objects=[_object(d) for d in documents], next=following and following.encode())


@router.get("/objects/{object_id}", summary="The history of an object")
async def get_object(
    sources: From, object_id: Annotated[str, Path(description="Id of an object version.")]
) -> LedgerObject:
    """Where an object is, and what happened to it, when and why."""
    document = await sources.archive.ledger.find(object_id)
    if document is None:
        raise NotFound(f"the ledger has no object {object_id}")
    return _object(document)


def _span(asked: SpanParameters) -> Span:
    """Without `to` up to now; a minute more, for clocks that differ."""
    return asked.span(end_of_data=epoch_now() + WINDOW_MS)


def _object(document: Document) -> LedgerObject:
    return LedgerObject(
        id=document["_id"],
        arrived_at=instant(document["arrived_at"]),
        detail=document.get("detail", ""),
        facts={name: value for name, value in document.items() if name not in _COLUMNS},
        history=[LedgerStep(**{**step, "at": instant(step["at"])}) for step in document["history"]],
        **{name: document[name] for name in ("bucket", "key", "etag", "size", "state", "reason")},
    )
