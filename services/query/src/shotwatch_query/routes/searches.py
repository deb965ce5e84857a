"""Saved searches: each caller has their own, and sees no others."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Path

from shotwatch_query.access.guard import Known
from shotwatch_query.errors import Full, NotFound
from shotwatch_query.expressions import TableQuestion
from shotwatch_query.limits.memory import MIB
from shotwatch_query.reservation import Room
from shotwatch_query.routes.tables.places import find_series
from shotwatch_query.schema import Schema
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.saved_search import MOST_SEARCHES, SEARCH_NAME, NamedSearch, SavedSearch

router = APIRouter(prefix="/tables/searches", tags=["shots"])
saving = APIRouter(prefix="/tables/searches", tags=["shots"])

_LIST_BYTES = 24 * MIB
"""Memory for a list of MOST_SEARCHES searches, each as large as a request may be: 20 MiB were measured."""

SearchName = Annotated[
    str,
    Path(
        pattern=f"^{SEARCH_NAME}$",
        description="Up to 60 letters, digits, blanks, points, `_` and `-`.",
        examples=["hot spots"],
    ),
]


class SearchList(Schema):
    """The saved searches of a caller."""

    searches: list[NamedSearch]


@router.get("", summary="Saved searches")
async def list_searches(sources: From, room: Room, caller: Known) -> SearchList:
    """Return the caller's saved searches, by name. Callers of one key, or of an open API, share them."""
    await room.bytes(_LIST_BYTES)
    return SearchList(searches=await sources.archive.searches.of_owner(caller.name))


@router.get("/{name}", summary="A saved search", responses={404: {}})
async def get_search(sources: From, caller: Known, name: SearchName) -> NamedSearch:
    """Return a saved search of the caller. Its parts are parameters of `GET /tables/shots`."""
    found = await sources.archive.searches.find(caller.name, name)
    if found is None:
        raise NotFound(f"you have saved no search with the name {name}")
    return found


@saving.put("/{name}", summary="Save a search", responses={404: {}, 409: {}})
async def save_search(
    sources: From, caller: Known, name: SearchName, search: Annotated[SavedSearch, Body()]
) -> NamedSearch:
    """Save a search for the caller, in place of an earlier one of the same name.

    Its places must exist, and its expressions must be right. A caller may save a hundred.
    """
    async with sources.limits.searches.turn_of(caller.name):
        await asyncio.to_thread(_require_right, sources, search)
    named = NamedSearch(name=name, search=search)
    async with sources.searches_lock:
        if await sources.archive.searches.count_others(caller.name, name) >= MOST_SEARCHES:
            raise Full(f"you have saved {MOST_SEARCHES} searches, as many as there may be: remove one")
        await sources.archive.searches.save(caller.name, named)
    return named


@saving.delete("/{name}", summary="Remove a saved search", status_code=204)
async def remove_search(sources: From, caller: Known, name: SearchName) -> None:
    """Remove a saved search of the caller, if there is one of this name."""
    await sources.archive.searches.remove(caller.name, name)


def _require_right(sources: ApiSources, search: SavedSearch) -> None:
    """Require places and expressions that a search accepts.

    Raises:
        NotFound: the facility has no such place.
        BadRequest: an expression is wrong, a column does not exist, or the parts exclude each other.
    """
    series = find_series(sources.facility, search.place, search.interval)
    for each in series:
        TableQuestion.parse(
            sources.tables.schema(each.place),
            search.where,
            search.derive,
            search.columns,
            search.aggregate,
            of_several=len(series) > 1,
        )
