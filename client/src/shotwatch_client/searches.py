"""Saved searches: what is searched, under a name, for the owner of the key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import pandas as pd

from shotwatch_client.answer import Answer
from shotwatch_client.rest import Rest
from shotwatch_client.shot_tables import ShotTable
from shotwatch_client.times import Time

PATH = "/tables/searches"


@dataclass(frozen=True, slots=True)
class ValueSearch:
    """A search by value without a span of time, as `ShotTable.shots` takes it: without aggregates."""

    place: tuple[str, ...]
    where: str | None = None
    columns: tuple[str, ...] = ()
    derive: tuple[str, ...] = ()
    interval: str | None = None

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return the search of an answer. Raises UnexpectedAnswer as `Answer` does."""
        return cls(
            answer.texts("place"),
            answer.text_or_none("where"),
            answer.texts("columns"),
            answer.texts("derive"),
            answer.text_or_none("interval"),
        )


class SavedSearches:
    """The searches that the owner of the key has saved."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def list(self) -> pd.DataFrame:
        """Return the saved searches by name: `name`, `place`, `where`.

        Raises:
            ShotwatchError: the server does not answer, or refuses.
        """
        rows = self._rest.get(PATH).rows("searches")
        searches = [(row.text("name"), ValueSearch.of(row.part("search"))) for row in rows]
        return pd.DataFrame(
            [(name, each.place, each.where) for name, each in searches], columns=["name", "place", "where"]
        )

    def get(self, name: str) -> ValueSearch:
        """Return a saved search.

        Raises:
            NoData: there is none of this name.
            ShotwatchError: the server does not answer, or refuses.
        """
        return ValueSearch.of(self._rest.get(_path(name)).part("search"))

    def save(
        self,
        name: str,
        place: str | Sequence[str],
        where: str | None = None,
        *,
        columns: Sequence[str] = (),
        derive: Sequence[str] = (),
        interval: str | None = None,
    ) -> None:
        """Save a search, in place of an earlier one of the same name.

        Args:
            name: up to 60 letters, digits, blanks, points, `_` and `-`.
            place: as for `ShotwatchClient.table`.
            where: as for `ShotTable.shots`.
            columns: as for `ShotTable.shots`.
            derive: as for `ShotTable.shots`.
            interval: as for `ShotwatchClient.table`.

        Raises:
            NotAccepted: the name or an expression is wrong, or there are a hundred searches already.
            NoData: there is no such place.
            NotPermitted: the key lacks the scope `label`.
            ShotwatchError: the server does not answer, or refuses.
        """
        search = {
            "place": [place] if isinstance(place, str) else list(place),
            "where": where,
            "columns": list(columns),
            "derive": list(derive),
            "interval": interval,
        }
        self._rest.change("PUT", _path(name), search)

    def remove(self, name: str) -> None:
        """Remove a saved search, if there is one of this name.

        Raises:
            ShotwatchError: the server does not answer, or refuses.
        """
        self._rest.change("DELETE", _path(name))

    def shots(self, name: str, start: Time | None = None, end: Time | None = None) -> pd.DataFrame:
        """Return the shots that a saved search finds in a span of time.

        Raises:
            NoData: there is no search of this name.
            NotAccepted: the search costs too much.
            InvalidArgument: a time has no time zone, or there are more than a million shots.
            ShotwatchError: the server does not answer, or refuses.
        """
        search = self.get(name)
        table = ShotTable(self._rest, search.place, search.interval)
        return table.shots(start, end, where=search.where, columns=search.columns, derive=search.derive)


def _path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"
