"""How the objects of a long time ended, without counting each of them again."""

from collections.abc import Sequence

from shotwatch_common.archive import Archive
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.reconciliation.slices import Equality, Reconciled, Slice

Span = tuple[int, int]
"""Epoch ms: from the first on, before the second."""


async def tally_of(archive: Archive, results: Sequence[Reconciled], start: int, end: int) -> Tally:
    """Return how the objects that arrived in [start, end) ended.

    An hour that is settled was counted when it was checked. Other hours, and parts of hours, are counted now,
    and so is all that may have arrived since changes were noted last. Where an hour has no result, nothing
    arrived.

    Args:
        results: of the slices that overlap [start, end).
    """
    noted = await archive.reconciliations.noted_until()
    recent = Slice.at(Equality.RECORDS, noted).start if noted else start
    hours = [
        each for each in results if each.slice.equality is Equality.RECORDS and each.slice.start < recent
    ]
    to_count = [each.slice for each in hours if not _is_counted(each, start, end)]
    spans = [*(_part(each, start, end) for each in to_count), (max(recent, start), end)]
    now = [await archive.ledger.tally(*span) for span in spans if span[0] < span[1]]
    before = [each.outcome.tally for each in hours if _is_counted(each, start, end) and each.outcome.tally]
    return Tally.of([*before, *now])


def _is_counted(hour: Reconciled, start: int, end: int) -> bool:
    """Whether the last check of an hour counted what is asked for: the whole hour, as it still is."""
    return hour.settled and start <= hour.slice.start and hour.slice.end <= end


def _part(slice_: Slice, start: int, end: int) -> Span:
    return max(slice_.start, start), min(slice_.end, end)
