"""Count the final states of objects over a long time without counting each object again."""

from collections.abc import Sequence

from shotwatch_common.archive import Archive
from shotwatch_shots.reconciliation.sides import Tally
from shotwatch_shots.reconciliation.slices import Equality, Reconciled, Slice


async def tally_of(archive: Archive, results: Sequence[Reconciled], start: int, end: int) -> Tally:
    """Count the objects that arrived in [start, end) (epoch ms), by state and reason.

    A settled hour was counted when it was checked. Other hours and parts of hours are counted now, and so is
    everything that may have arrived since changes were last noted. In an hour without a result, nothing
    arrived.

    Args:
        results: results of the slices that overlap [start, end).
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
    """Return whether the last check counted what is requested: the whole hour, unchanged since."""
    return hour.settled and start <= hour.slice.start and hour.slice.end <= end


def _part(slice_: Slice, start: int, end: int) -> tuple[int, int]:
    return max(slice_.start, start), min(slice_.end, end)
