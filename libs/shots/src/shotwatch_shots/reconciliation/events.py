"""Compare stored events with sequence numbers and confirmations. Pure.

What is in progress is not an imbalance. Each comparison is given the time before which nothing is in progress
any more (`settled_before`, epoch ms), and whether messages about its things are still in a queue (`queued`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from shotwatch_shots.reconciliation.outcome import Outcome, OutcomeBuilder
from shotwatch_shots.reconciliation.sides import EventNumbers, StoredEvent


def compare_events(stored: Sequence[StoredEvent], numbers: EventNumbers, settled_before: int) -> Outcome:
    """Compare the events that were stored in an hour with the sequence numbers and with confirmations.

    No number may be missing between the events, nor between them and the nearest stored numbers before and
    after. No number may belong to two events.
    """
    account = OutcomeBuilder()
    events = Counter(numbers.stored)
    account.counts |= {"stored": len(stored), "numbers": len(events), "confirmed": 0}
    for event in stored:
        subject = f"event {event.id} (number {event.number})"
        if event.published_at:
            account.counts["confirmed"] += 1
        else:
            wrong = "stored, and never confirmed by the broker"
            account.late(subject, wrong, event.stored_at >= settled_before)
        if event.published_number != event.number:
            account.wrong(subject, f"subscribers see number {event.published_number}")
        if not 0 < event.number <= numbers.highest:
            account.wrong(subject, f"only the numbers 1 to {numbers.highest} were given out")
        if events[event.number] > 1:
            account.wrong(subject, "another event has the same number")
    for number in sorted(numbers.reserved.keys() & events.keys()):
        account.wrong(f"event number {number}", "reserved for an event, and another event has it")
    accounted = {numbers.before, *events, *numbers.void, numbers.after}
    around = sorted(number for number in accounted if numbers.before <= number <= numbers.after)
    for last, following in pairwise(around):
        _compare_gap(account, last + 1, following - 1, numbers.reserved, settled_before)
    return account.outcome()


def _compare_gap(
    account: OutcomeBuilder, first: int, last: int, reserved: Mapping[int, int], settled_before: int
) -> None:
    """Add the missing numbers first..last: reserved ones individually, the others as one gap."""
    waiting = {number: at for number, at in reserved.items() if first <= number <= last}
    for number, at in waiting.items():
        wrong = "reserved for an event that was never stored"
        account.late(f"event number {number}", wrong, at >= settled_before)
    missing = last - first + 1 - len(waiting)
    if missing > 0:
        which = f"event number {first}" if first == last else f"event numbers {first} to {last}"
        wrong = "no event has this number" if missing == 1 else f"{missing} numbers have no event"
        account.wrong(which, wrong)
