"""The shots of a place in a span of time, listed only as far as they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from shotwatch_client.answer import Answer
from shotwatch_client.errors import InvalidArgument
from shotwatch_client.pages import require_few_empty
from shotwatch_client.rest import Rest, Value, describe

PAGE = 1000
"""Number of shots that are asked for at a time, the maximum of the API."""
MOST_SHOTS = 1_000_000
"""Maximum number of shots in a list or a table: slightly more than a day of a place at 10 Hz."""


def pages(rest: Rest, **query: Value) -> Iterator[list[Answer]]:
    """Yield the shots of a search page by page.

    Raises:
        InvalidArgument: there are more than MOST_SHOTS.
        ShotwatchError: a page cannot be read.
    """
    count, empty, cursor = 0, 0, None
    while True:
        page = rest.get("/shots", **query, cursor=cursor)
        shots = page.rows("shots")
        count += len(shots)
        empty += not shots
        require_few_empty(empty, describe("GET", "/shots", query))
        if count > MOST_SHOTS:
            raise InvalidArgument(
                "start, end", f"there are more than {MOST_SHOTS:,} shots", "Narrow the span"
            )
        yield shots
        cursor = page.text_or_none("next")
        if cursor is None:
            return


def newest_pages(rest: Rest, newest: int | None, **query: Value) -> Iterator[list[Answer]]:
    """Yield the newest shots of a search page by page; all of them if `newest` is None.

    Raises:
        InvalidArgument: `newest` is below 1, or there are more than MOST_SHOTS.
        ShotwatchError: a page cannot be read.
    """
    if newest is not None and newest < 1:
        raise InvalidArgument("newest", f"{newest} is not a number of shots")
    wanted = MOST_SHOTS if newest is None else newest
    count = 0
    for page in pages(rest, **query, limit=min(wanted, PAGE)):
        yield page[: wanted - count]
        count += len(page)
        if newest is not None and count >= newest:
            return


@dataclass(frozen=True, slots=True)
class ListedShot:
    """A shot of the list."""

    id: str
    time: datetime


class ShotList:
    """The shots of one place in a span of time, oldest first."""

    def __init__(self, rest: Rest, place: str, interval: str, span: tuple[int, int]) -> None:
        start, end = span
        query: dict[str, Value] = {"place": place, "interval": interval, "from": start, "to": end}
        self._coming = (
            ListedShot(each.text("id"), each.time("time"))
            for page in pages(rest, **query, order="oldest", limit=PAGE)
            for each in page
            if each.text("place") == place  # a place can be the beginning of others
        )
        self._listed: list[ListedShot] = []

    def first(self, count: int) -> list[ListedShot]:
        """Return up to `count` shots; request pages until there are as many."""
        self._listed += islice(self._coming, max(count - len(self._listed), 0))
        return self._listed[:count]

    def all(self) -> list[ListedShot]:
        """Return all shots."""
        self._listed += self._coming
        return self._listed
