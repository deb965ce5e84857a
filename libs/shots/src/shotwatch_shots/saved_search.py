"""Searches by value that a person saves under a name."""

from typing import Annotated

from pydantic import Field

from shotwatch_shots.expressions.aggregates import AggregatePeriod
from shotwatch_shots.expressions.reader import LONGEST
from shotwatch_shots.message import Message
from shotwatch_shots.place import Place

MOST_SEARCHES = 100
"""Maximum number of saved searches of one owner."""
SEARCH_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}"
"""A regular expression for the name of a saved search."""
MOST_PLACES, MOST_COLUMNS, MOST_DERIVED, MOST_AGGREGATES = 100, 100, 10, 20
"""Maximum numbers of a search."""

Text = Annotated[str, Field(max_length=LONGEST)]
ColumnName = Annotated[str, Field(max_length=200)]


class SavedSearch(Message):
    """A search by value without a span of time; docs/search.md describes each part."""

    place: tuple[Place, ...] = Field(min_length=1, max_length=MOST_PLACES, examples=[["LA-A1-11"]])
    interval: Annotated[str, Field(max_length=20)] | None = Field(None, examples=["100ms"])
    where: Text | None = Field(None, examples=["score > 4 and 'hot_spot' in kinds"])
    columns: tuple[ColumnName, ...] = Field((), max_length=MOST_COLUMNS)
    derive: tuple[Text, ...] = Field((), max_length=MOST_DERIVED)
    aggregate: tuple[Text, ...] = Field((), max_length=MOST_AGGREGATES)
    every: AggregatePeriod = AggregatePeriod.HOUR


class NamedSearch(Message):
    """A search with the name under which it is saved."""

    name: str = Field(pattern=f"^{SEARCH_NAME}$", examples=["hot spots"])
    search: SavedSearch
