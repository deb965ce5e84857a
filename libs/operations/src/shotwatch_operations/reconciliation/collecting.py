"""Compare both sides of a slice, and find the slices in which there is something to compare."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace

from shotwatch_common.archive import Archive
from shotwatch_common.settings import Settings
from shotwatch_common.store import ObjectStore
from shotwatch_operations.reconciliation.context import Allowances, Queues, ReconciliationContext
from shotwatch_operations.reconciliation.objects import ObjectSides
from shotwatch_operations.reconciliation.records import RecordSides
from shotwatch_shots.facility import Facility
from shotwatch_shots.pulses import WINDOW_MS
from shotwatch_shots.reconciliation.events import compare_events
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome
from shotwatch_shots.reconciliation.shots import (
    compare_batches_without_window,
    compare_files,
    compare_shot_ids,
    compare_shots,
)
from shotwatch_shots.reconciliation.sides import StoredShot
from shotwatch_shots.reconciliation.slices import BEGINNING, Equality, Slice

_NEVER = 2**53
_First = Callable[[int, int], Awaitable[int | None]]


class Collector:
    """The two sides of each equality."""

    def __init__(
        self,
        archive: Archive,
        store: ObjectStore,
        facility: Facility,
        settings: Settings,
        queues: Queues,
        allowances: Allowances,
    ) -> None:
        self._archive = archive
        self._context = ReconciliationContext(archive, store, facility, settings, queues, allowances)
        self._objects = ObjectSides(self._context)
        self._records = RecordSides(self._context)

    async def compare(self, slice_: Slice) -> Outcome:
        """Compare both sides of a slice as they are now.

        Raises:
            Retry: a server does not answer.
        """
        match slice_.equality:
            case Equality.INBOX:
                return await self._objects.inbox()
            case Equality.OBJECTS:
                folders = [outcome async for outcome in self._objects.folders(slice_.folder)]
                blocks = [outcome async for outcome in self._objects.block_folders(slice_.folder)]
                return Outcome.of([*folders, *blocks])
            case Equality.RECORDS:
                tally = await self._archive.ledger.tally(slice_.start, slice_.end)
                records = [outcome async for outcome in self._records.compare(slice_.start, slice_.end)]
                return replace(Outcome.of(records), tally=tally)
            case Equality.SHOTS:
                return await self._shots(slice_)
            case Equality.EVENTS:
                return await self._events(slice_.start, slice_.end)

    async def folders(self) -> tuple[set[Slice], list[Imbalance]]:
        """Return the day folders of all buckets but the inbox, and imbalances for all outside them."""
        return await self._objects.days()

    async def occupied(self, start: int, end: int) -> AsyncIterator[Slice]:
        """Yield the slices that contain something that starts in [start, end) (epoch ms)."""
        for equality, first in self._firsts():
            at: int | None = start
            while at is not None and (at := await first(at, end)) is not None:
                yield (slice_ := Slice.at(equality, at))
                at = slice_.end

    async def first_occupied(self, start: int) -> int | None:
        """Return the time of the first thing at or after `start` (epoch ms); None if there is none."""
        firsts = [await first(start, _NEVER) for _, first in self._firsts()]
        return min((first for first in firsts if first is not None), default=None)

    def _firsts(self) -> Iterator[tuple[Equality, _First]]:
        """Yield each equality with a function that finds the earliest thing to compare in a time range."""
        archive = self._archive
        yield Equality.OBJECTS, self._first_folder
        yield Equality.RECORDS, archive.known_objects.first_arrival
        yield Equality.SHOTS, archive.windows.first_start
        yield Equality.SHOTS, archive.shots.first_pulse
        yield Equality.SHOTS, archive.records.first_start
        yield Equality.SHOTS, archive.batches.first_closed
        yield Equality.EVENTS, archive.events.first_stored

    async def _first_folder(self, start: int, end: int) -> int | None:
        """Return the first day in [start, end) (epoch ms) in whose folder the ledger has an object."""
        before = Slice.at(Equality.OBJECTS, start - 1)
        folder: str | None = before.folder if start > BEGINNING else ""
        while folder is not None:
            folder = await self._archive.known_objects.first_folder(folder)
            day = Slice.of_folder(folder) if folder is not None else None
            if day is not None and day.start >= start:
                return day.start if day.start < end else None
        return None

    async def _shots(self, slice_: Slice) -> Outcome:
        start, end = slice_.start, slice_.end
        windows = await self._archive.windows.closed(start, end)
        batches = [each async for each in self._archive.batches.closed([window.id for window in windows])]
        last = max((max(window.revisions, default=start) for window in windows), default=start)
        stored, inconsistent = list[StoredShot](), list[StoredShot]()
        for minute in range(start, max(last + 1, end), WINDOW_MS):
            shots = await self._archive.shots.stored(minute, minute + WINDOW_MS)
            inconsistent += [shot for shot in shots if not shot.is_consistent and shot.pulse < end]
            consistent = [shot for shot in shots if shot.is_consistent]
            stored += [shot for shot in consistent if Slice.of_window(shot.window_id) == slice_]
        queued = await self._context.queues.under_way("features", "inference")
        compared = compare_shots(windows, stored, batches, self._context.settled_before, queued)
        sources = await self._archive.records.sources(start, end)
        joined_from = [
            *((f"window {window.id}", file) for window in windows for file in sorted(window.sources)),
            *((f"document of {device} in the collection records", file) for device, file in sources),
        ]
        known = await self._archive.known_objects.of_keys(sorted({file.key for _, file in joined_from}))
        compared_files = compare_files(joined_from, known)
        return Outcome.of(
            [compared, compare_shot_ids(inconsistent), compared_files, *await self._batches(start, end)]
        )

    async def _batches(self, start: int, end: int) -> list[Outcome]:
        """Compare the batches that were closed in [start, end) (epoch ms) with the windows that exist."""
        expired_before = await self._archive.retention.horizon()
        outcomes = []
        for minute in range(start, end, WINDOW_MS):
            batches = await self._archive.batches.of_windows(minute, minute + WINDOW_MS)
            windows = await self._archive.windows.known(sorted({each.window_id for each in batches}))
            outcomes.append(compare_batches_without_window(batches, windows, expired_before))
        return outcomes

    async def _events(self, start: int, end: int) -> Outcome:
        stored = await self._archive.events.stored_between(start, end)
        numbers = await self._archive.events.numbers([event.number for event in stored])
        return compare_events(stored, numbers, self._context.settled_before)
