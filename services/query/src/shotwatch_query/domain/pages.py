"""Pages of a listing ordered by time, then by id, and the time ranges in which it is searched."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_SLICE_MS = 1_000
LONGEST_SLICE_MS = 512_000
"""Maximum time range that is read at once, in ms.

It is long enough to cross a night in few reads, and short enough at the facility's full rate.
"""
EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999."""
LONGEST_CURSOR = 2000
"""Maximum length in characters; the cursor of the longest possible id has about 1,100."""


@dataclass(frozen=True, slots=True)
class Span:
    """Times with start <= t < end, epoch ms."""

    start: int
    end: int

    def __bool__(self) -> bool:
        return self.start < self.end


@dataclass(frozen=True, slots=True)
class Position:
    """A position in the listing. It stays valid whatever is inserted around it."""

    time: int
    """Epoch ms."""
    id: str


@dataclass(frozen=True, slots=True)
class PageCursor:
    """The position at which the next page begins, and the span of all pages of the listing."""

    span: Span
    after: Position

    def encode(self) -> str:
        """Return the cursor as text, which clients return unchanged."""
        values = [self.span.start, self.span.end, self.after.time, self.after.id]
        return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "PageCursor":
        """Return the cursor of a text.

        Raises:
            ValueError: the text was not made by `encode`.
        """
        try:
            if len(text) > LONGEST_CURSOR:
                raise ValueError("too long")
            start, end, time, id_ = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError("not a cursor of this service") from error
        if not (all(map(_is_time, (start, end, time))) and isinstance(id_, str)):
            raise ValueError("not a cursor of this service")
        return cls(Span(start, end), Position(time, id_))


def _is_time(value: object) -> bool:
    return type(value) is int and EARLIEST_MS <= value <= LATEST_MS + 1


def span_after(span: Span, after: Position, newest_first: bool) -> Span:
    """Return the part of the span after the instant of `after`, in reading order."""
    return Span(span.start, after.time) if newest_first else Span(after.time + 1, span.end)


def slices(span: Span, newest_first: bool) -> Iterator[Span]:
    """Yield parts of the span in reading order, each twice as long as the previous one up to the maximum."""
    done, length, width = 0, span.end - span.start, FIRST_SLICE_MS
    while done < length:
        step = min(width, length - done)
        start = span.end - done - step if newest_first else span.start + done
        yield Span(start, start + step)
        done, width = done + step, min(2 * width, LONGEST_SLICE_MS)


def unread(span: Span, read: Span, newest_first: bool) -> Span:
    """Return the rest of the span after its first part, in reading order, has been read."""
    return Span(span.start, read.start) if newest_first else Span(read.end, span.end)


def page_of(span: Span, rest: Span, newest_first: bool) -> PageCursor:
    """Return the cursor of a page that begins with the first document, in reading order, of the rest."""
    return PageCursor(span, Position(rest.end if newest_first else rest.start, ""))
