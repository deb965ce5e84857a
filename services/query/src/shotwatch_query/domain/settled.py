"""Which events a subscriber may be told about without ever missing one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

PATIENCE_MS = 10_000
"""A number that is still unused so long after a later one was stored never will be."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The number of a stored event, and when it was stored (epoch ms)."""

    sequence: int
    stored_at: int


def settled(events: Sequence[Numbered], since: int, now_ms: int) -> int:
    """How many of these events, from the first, have nothing before them that may still appear.

    Writers reserve numbers before they store events, so number 12 can be there before 11. A gap is given up
    when any event behind it was stored more than PATIENCE_MS ago: its numbers were reserved even earlier.

    Args:
        events: in the order of their numbers, all greater than `since`, none left out.
        since: the last number that the subscriber has.
        now_ms: epoch ms.
    """
    oldest_from_here = list(accumulate((event.stored_at for event in reversed(events)), min))[::-1]
    expected = since + 1
    for n, event in enumerate(events):
        if event.sequence != expected and oldest_from_here[n] > now_ms - PATIENCE_MS:
            return n
        expected = event.sequence + 1
    return len(events)
