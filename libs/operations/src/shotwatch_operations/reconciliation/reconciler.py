"""Which slices are checked, when, and which results are kept.

A slice is checked when something in it has changed, and again until it balances with nothing in progress.
After a check, the slice waits for at least twenty times the duration of that check. So its checks take at
most a twentieth of one process, however large the slice is.

What is removed or altered outside the services leaves no noted change. Therefore `recheck` also marks settled
slices: one per call, the one whose check is the oldest. What is added outside the services may lie in
a slice in which nothing ever changed. Therefore `recheck` also walks through everything that exists.
"""

import asyncio
from dataclasses import replace
from time import monotonic

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.reconciliation.outcome import NAMED, Outcome
from shotwatch_shots.reconciliation.slices import BEGINNING, INBOX, Equality, Reconciled, Slice

RECENTLY_MS = 3 * HOUR_MS
RECHECK_AFTER_MS = DAY_MS
"""A settled slice is not checked again within this time."""
_SECOND_CHECK_S = 1.0
_PAUSE = 20
"""Factor for the duration of a check."""


class Reconciler:
    """Checks slices, and stores the results in the archive."""

    def __init__(self, archive: Archive, collector: Collector) -> None:
        self._archive = archive
        self._collector = collector
        self._walked_until = BEGINNING

    async def note_changes(self) -> None:
        """Mark every slice in which something has changed since the last call, so that it is checked."""
        now = epoch_now()
        noted = await self._archive.reconciliations.noted_until()
        begin = await self._archive.known_objects.first_change() if noted is None else noted
        folders, _ = await self._collector.folders()
        unknown = folders - await self._archive.reconciliations.known(folders)
        await self._archive.reconciliations.note([INBOX, *unknown], begin or now)
        for start in range(begin or now, now, DAY_MS):
            end = min(start + DAY_MS, now)
            await self._archive.reconciliations.note(await self._changed(start, end), end)
        await self._archive.reconciliations.note(await self._unfinished(now), now)

    async def _unfinished(self, now: int) -> set[Slice]:
        """Return the slices in which something was started that may have left no other trace."""
        sending = await self._archive.windows.unsent(now)
        reserved = await self._archive.events.reserved_at()
        return {
            *filter(None, map(Slice.of_window, sending)),
            *(Slice.at(Equality.EVENTS, at) for at in reserved),
        }

    async def _changed(self, start: int, end: int) -> set[Slice]:
        """Return the slices in which something changed in [start, end) (epoch ms)."""
        objects = await self._archive.known_objects.changed(start, end)
        windows = await self._archive.batches.windows_closed(start, end)
        events = await self._archive.events.stored_between(start, end)
        folders = {each.location[1].partition("/")[0] for each in objects if each.location}
        return {
            *(Slice.at(Equality.RECORDS, each.arrived_at) for each in objects),
            *filter(None, map(Slice.of_folder, folders)),
            *filter(None, map(Slice.of_window, windows)),
            *(Slice.at(Equality.EVENTS, event.stored_at) for event in events),
        }

    async def note_occupied(self, start: int, end: int) -> None:
        """Mark the slices in [start, end) (epoch ms) that contain something, but have no noted change."""
        occupied = {slice_ async for slice_ in self._collector.occupied(start, end)}
        unknown = occupied - await self._archive.reconciliations.known(occupied)
        if unknown:
            noted = await self._archive.reconciliations.noted_until()
            await self._archive.reconciliations.note(unknown, noted or epoch_now())

    async def due(self) -> list[Slice]:
        """Return the slices that must be checked now; those that have waited longest come first."""
        return await self._archive.reconciliations.due(epoch_now())

    async def recent(self) -> set[Slice]:
        """Return the slices that are open, and those with a change in the last RECENTLY_MS."""
        lately = await self._archive.reconciliations.changed_since(epoch_now() - RECENTLY_MS)
        return {INBOX, *lately, *await self._archive.reconciliations.due(2**53)}

    async def recheck(self) -> None:
        """Mark the settled slice with the oldest check as open, if that was a day ago or longer.

        Also continue the walk through everything that exists, one day per call, and mark the slices that were
        never noted.
        """
        await self._archive.reconciliations.reopen_oldest(epoch_now() - RECHECK_AFTER_MS)
        first = await self._collector.first_occupied(self._walked_until)
        if first is not None:
            await self.note_occupied(first, first + DAY_MS)
        self._walked_until = BEGINNING if first is None else first + DAY_MS

    async def check(self, slice_: Slice) -> Reconciled:
        """Check a slice now, and store the result.

        The sources are read one after the other while the services are working. So an imbalance counts only
        if a second comparison finds it too.

        Raises:
            Retry: a server does not answer.
        """
        began = epoch_now()
        before = await self._archive.reconciliations.find(slice_)
        outcome, took_ms = await self._compare(slice_)
        if outcome.imbalances:
            await asyncio.sleep(_SECOND_CHECK_S)
            second, took_ms = await self._compare(slice_)
            outcome = _in_both(outcome, second)
        known = set(before.outcome.imbalances) if before else set()
        confirmed = tuple(each for each in outcome.imbalances if each in known)
        result = Reconciled(slice_, outcome, began, took_ms, confirmed)
        await self._archive.reconciliations.write(result, epoch_now() + _PAUSE * took_ms)
        return result

    async def _compare(self, slice_: Slice) -> tuple[Outcome, int]:
        """Return the outcome, and how long the comparison took (ms)."""
        clock = monotonic()
        outcome = await self._collector.compare(slice_)
        return outcome, round((monotonic() - clock) * 1000)


def _in_both(first: Outcome, second: Outcome) -> Outcome:
    """Return the second outcome with the imbalances that the first one has, too.

    The other imbalances count as in progress.
    """
    both = tuple(each for each in second.imbalances if each in set(first.imbalances))
    passing = tuple(each for each in second.imbalances if each not in set(first.imbalances))
    under_way, pending = second.under_way + len(passing), (*second.pending, *passing)[:NAMED]
    more = min(first.more, second.more)
    return replace(second, imbalances=both, more=more, under_way=under_way, pending=pending)
