"""The settled events: those that can be sent to a subscriber without the risk of skipping an earlier one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

TIMEOUT_MS = 10_000
"""Time in ms after which an unused number is given up, counted from the storing of a later one."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """The number of a stored event, and the time of its storing (epoch ms)."""

    sequence: int
    stored_at: int


def settled(events: Sequence[Numbered], since: int, now_ms: int) -> int:
    """Return how many of these events, from the first, are settled: no event may still appear before them.

    Writers reserve numbers before they store events, so number 12 may be stored before 11. A gap is given up
    when any event after it was stored more than TIMEOUT_MS ago, because its numbers were reserved even
    earlier.

    Args:
        events: complete, in order of their numbers, which are all greater than `since`.
        since: the last number that the subscriber has.
        now_ms: epoch ms.
    """
    # For each event, the earliest time at which it or a later one was stored.
    oldest_from_here = list(accumulate((event.stored_at for event in reversed(events)), min))[::-1]
    expected = since + 1
    for n, event in enumerate(events):
        if event.sequence != expected and oldest_from_here[n] > now_ms - TIMEOUT_MS:
            return n
        expected = event.sequence + 1
    return len(events)
