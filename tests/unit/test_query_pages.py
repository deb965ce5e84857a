"""Pages of a listing: nothing twice, nothing left out, whatever comes in between."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_query import listing
from shotwatch_query.domain.pages import LONGEST_SLICE_MS, PageCursor, Position, Span, slices
from shotwatch_query.listing import Listing, in_slices

TIMES = st.integers(0, 3_000_000)
KEYS = st.tuples(st.integers(0, 40).map(lambda n: n * 70_000), st.sampled_from("abcd"))
"""Time and id of a document; times coincide often."""


class StoredKeys:
    """Documents in memory, fetched as a database does."""

    def __init__(self, keys: set[tuple[int, str]], newest_first: bool) -> None:
        self.keys = set(keys)
        self.listing = Listing(in_slices(self.fetch, newest_first), lambda key: Position(*key), newest_first)
        self.questions = 0

    async def fetch(self, span: Span, limit: int) -> Sequence[tuple[int, str]]:
        self.questions += 1
        within = sorted(
            (key for key in self.keys if span.start <= key[0] < span.end), reverse=self.listing.newest_first
        )
        return within[: limit or None]

    def page(self, cursor: PageCursor, limit: int) -> tuple[list[tuple[int, str]], PageCursor | None]:
        return asyncio.run(self.listing.page(cursor, limit))


@given(
    start=TIMES,
    length=TIMES,
    time=TIMES,
    id_=st.text(max_size=20),
    texts=st.binary(max_size=5).map(bytes.hex),
)
def test_a_cursor_comes_back_as_it_was(start: int, length: int, time: int, id_: str, texts: str) -> None:
    cursor = PageCursor(Span(start, start + length), Position(time, id_ + texts))
    assert PageCursor.decode(cursor.encode()) == cursor


NESTED = ["W1tb" * 475, "W1tb" * 20_000, "eyJhIjp7" * 240]
"""`[[[…` of 1,425 levels, of 60,000, and half an object."""


@pytest.mark.parametrize(
    "text",
    ["", "x", "bnVsbA", "WzEsMiwzXQ", "WzEsMiwiMyIsImEiXQ", "ü", "W10=", *NESTED],
    ids=lambda text: text[:20],
)
def test_other_texts_are_no_cursors(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor of this service"):
        PageCursor.decode(text)


@given(start=TIMES, length=st.integers(0, 10 * LONGEST_SLICE_MS), newest_first=st.booleans())
def test_slices_follow_each_other_through_the_whole_span(start: int, length: int, newest_first: bool) -> None:
    pieces = list(slices(Span(start, start + length), newest_first))
    in_time_order = pieces[::-1] if newest_first else pieces
    bounds = [start, *(piece.end for piece in in_time_order)]
    assert [piece.start for piece in in_time_order] == bounds[:-1]
    assert bounds[-1] == start + length
    assert all(0 < piece.end - piece.start <= LONGEST_SLICE_MS for piece in pieces)


@given(
    there=st.sets(KEYS, max_size=40),
    coming=st.lists(KEYS, max_size=20),
    limit=st.integers(1, 7),
    newest_first=st.booleans(),
)
def test_documents_that_come_between_pages_neither_repeat_nor_hide_others(
    there: set[tuple[int, str]], coming: list[tuple[int, str]], limit: int, newest_first: bool
) -> None:
    stored = StoredKeys(there, newest_first)
    listed: list[tuple[int, str]] = []
    cursor: PageCursor | None = stored.listing.first_page(Span(0, 3_000_000))
    while cursor is not None:
        found, cursor = stored.page(cursor, limit)
        listed += found
        assert len(found) <= limit
        if coming:
            stored.keys.add(coming.pop())
    assert [key for key in listed if key in there] == sorted(there, reverse=newest_first)
    assert listed == sorted(set(listed), reverse=newest_first)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_search_that_ran_out_of_time_goes_on_where_it_ended(
    newest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "BUDGET_S", -1.0)
    there = {(700 * n, id_) for n in range(50) for id_ in "ab"}
    stored = StoredKeys(there, newest_first)
    cursor: PageCursor | None = stored.listing.first_page(Span(0, 40_000))
    listed: list[tuple[int, str]] = []
    while cursor is not None:
        before = stored.questions
        found, cursor = stored.page(cursor, 100)
        listed += found
        assert stored.questions - before <= 2
    assert listed == sorted(there, reverse=newest_first)


def test_a_search_of_little_asks_as_little_as_it_can() -> None:
    stored = StoredKeys({(0, "a")}, newest_first=False)
    day = Span(0, 86_400_000)
    assert stored.page(stored.listing.first_page(day), 100) == ([(0, "a")], None)
    assert stored.questions < 200


def test_a_span_that_ends_before_it_begins_holds_nothing() -> None:
    stored = StoredKeys({(5, "a")}, newest_first=False)
    assert stored.page(stored.listing.first_page(Span(5, 5)), 10) == ([], None)
