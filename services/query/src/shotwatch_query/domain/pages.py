"""Pages of a listing that is ordered by time, then by id, and the slices of time in which it is searched."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_SLICE_MS = 1_000
LONGEST_SLICE_MS = 512_000
"""How much time is read at once: enough to cross a night, little enough at the facility's full rate."""
EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
LONGEST_CURSOR = 2000
"""Characters; the cursor of the longest id that fits into a key of the store has some 1,100."""


@dataclass(frozen=True, slots=True)
class Span:
    """Times with start <= t < end, epoch ms."""

    start: int
    end: int

    def __bool__(self) -> bool:
        return self.start < self.end


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the listing. It stays where it is, whatever is inserted around it."""

    time: int
    """Epoch ms."""
    id: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page goes on, and the span in which all pages of the listing lie."""

    span: Span
    after: Position

    def encode(self) -> str:
        """As text that clients hand back unread."""
        values = [self.span.start, self.span.end, self.after.time, self.after.id]
        return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """
        Raises:
            ValueError: no cursor of ours.
        """
        try:
            if len(text) > LONGEST_CURSOR:
                raise ValueError("too long")
            start, end, time, id_ = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError("not one that this service gave out") from error
        if not (all(map(_is_time, (start, end, time))) and isinstance(id_, str)):
            raise ValueError("not one that this service gave out")
        return cls(Span(start, end), Position(time, id_))


def _is_time(value: object) -> bool:
    return type(value) is int and EARLIEST_MS <= value <= LATEST_MS + 1


def span_after(span: Span, after: Position, newest_first: bool) -> Span:
    """The part of the span behind the instant of `after`."""
    return Span(span.start, after.time) if newest_first else Span(after.time + 1, span.end)


def slices(span: Span, newest_first: bool) -> Iterator[Span]:
    """The span cut into pieces in reading order, each twice as long as the one before up to the longest."""
    done, length, width = 0, span.end - span.start, FIRST_SLICE_MS
    while done < length:
        step = min(width, length - done)
        start = span.end - done - step if newest_first else span.start + done
        yield Span(start, start + step)
        done, width = done + step, min(2 * width, LONGEST_SLICE_MS)


def unread(span: Span, read: Span, newest_first: bool) -> Span:
    """What is left of the span when its first piece, in reading order, has been read."""
    return Span(span.start, read.start) if newest_first else Span(read.end, span.end)


def page_of(span: Span, rest: Span, newest_first: bool) -> Cursor:
    """A page that begins with the first document, in reading order, of the rest of the span."""
    return Cursor(span, Position(rest.end if newest_first else rest.start, ""))
