"""Pages of shots and objects, read in time ranges.

Not every server of the MongoDB protocol stops reading at a limit: some read the whole range first. The time
range bounds the cost of one query, however large the database is. A search that finds little ends after a
second with what it has; the cursor contains the position at which it continues.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Protocol, TypeVar

from shotwatch_query.domain.pages import PageCursor, Position, Span, page_of, slices, span_after, unread

BUDGET_S = 1.0
T = TypeVar("T")
Read = TypeVar("Read", covariant=True)


class Fetch(Protocol[Read]):
    """A function that returns items of a span in the listing's order, at most `limit` (0 = all)."""

    async def __call__(self, span: Span, limit: int) -> Sequence[Read]: ...


class Reader(Protocol[Read]):
    """A function that yields the items of a span part by part, in the listing's order.

    The parts cover the whole span. `limit` is the number of items that are needed (0 = all); there may be
    more.
    """

    def __call__(self, span: Span, limit: int) -> AsyncIterator[tuple[Span, Sequence[Read]]]: ...


def in_slices(fetch: Fetch[T], newest_first: bool) -> Reader[T]:
    """Return a reader that fetches slices of a span, each twice as long as the previous one."""

    async def read(span: Span, limit: int) -> AsyncIterator[tuple[Span, Sequence[T]]]:
        missing = limit
        for piece in slices(span, newest_first):
            items = await fetch(piece, missing)
            yield piece, items
            missing = max(missing - len(items), 1) if limit else 0

    return read


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Items ordered by time, then by id."""

    read: Reader[T]
    position: Callable[[T], Position]
    """Return the time and the id of an item."""
    newest_first: bool

    def first_page(self, span: Span) -> PageCursor:
        return page_of(span, span, self.newest_first)

    async def page(self, cursor: PageCursor, limit: int) -> tuple[list[T], PageCursor | None]:
        """Return up to `limit` items and the cursor of the next page, which is None at the end."""
        if not cursor.span:
            return [], None
        found = await self._rest_of_instant(cursor.after)
        rest = span_after(cursor.span, cursor.after, self.newest_first)
        if rest and len(found) <= limit:
            deadline = monotonic() + BUDGET_S
            async for piece, items in self.read(rest, limit + 1 - len(found)):
                found += items
                rest = unread(rest, piece, self.newest_first)
                if len(found) > limit or monotonic() > deadline:
                    break
        if len(found) > limit:
            return found[:limit], PageCursor(cursor.span, self.position(found[limit - 1]))
        return found, page_of(cursor.span, rest, self.newest_first) if rest else None

    async def _rest_of_instant(self, after: Position) -> list[T]:
        """Return the items after `after` at the same time: a handful, of shots one per place."""
        same_time = [
            each async for _, items in self.read(Span(after.time, after.time + 1), 0) for each in items
        ]
        if self.newest_first:
            return [each for each in same_time if self.position(each).id < after.id]
        return [each for each in same_time if self.position(each).id > after.id]
