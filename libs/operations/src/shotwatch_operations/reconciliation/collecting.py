"""Read both sides of a slice from database and store, one page at a time, and compare them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from shotwatch_common.archive import Archive
from shotwatch_common.archive.known_objects import LAST_CHARACTER
from shotwatch_common.blocks import rows_in_block
from shotwatch_common.clock import epoch_now
from shotwatch_common.settings import Settings
from shotwatch_common.store import ObjectGone, ObjectStore, StoredObject
from shotwatch_shots.facility import Facility
from shotwatch_shots.identity import (
    CHARACTERISATIONS,
    NOTE_SUFFIX,
    block_folder,
    object_id,
    raw_key,
    reason_key,
    unversioned_raw_key,
)
from shotwatch_shots.pulses import WINDOW_MS
from shotwatch_shots.reconciliation.equalities import (
    Blocks,
    Imbalance,
    Outcome,
    compare_block_folders,
    compare_events,
    compare_files,
    compare_folder,
    compare_inbox,
    compare_places,
    compare_records,
    compare_shots,
)
from shotwatch_shots.reconciliation.sides import (
    Buckets,
    ClosedShots,
    HeldBlock,
    HeldObject,
    KnownObject,
    Numbers,
    StoredShot,
)
from shotwatch_shots.reconciliation.slices import BEGINNING, DAY_MS, Equality, Slice
from shotwatch_shots.vocabulary import ObjectState

_PAGE = 1000
"""Number of objects per page of a listing; S3 lists no more at a time."""
_FILES_AT_ONCE = 200
_WINDOWS_AT_ONCE = 50
_REQUESTS_AT_ONCE = 8
_TOP = 10_000
_END_BYTES = 32 << 10
"""Length read at each end of a block: the ends hold its description and the lengths of its columns."""
_STILL_IN_INBOX = (ObjectState.WAITING, ObjectState.DEAD_LETTERED)

_NEVER = 2**53
_First = Callable[[int, int], Awaitable[int | None]]

T = TypeVar("T")


class Queues(Protocol):
    """The broker's queues."""

    async def under_way(self, *stages: str) -> bool:
        """Return whether messages of these stages wait for a handler.

        Raises:
            Retry: the broker does not answer.
        """


@dataclass(frozen=True, slots=True)
class Allowances:
    """Durations for which things may be in progress before they count as imbalances (ms)."""

    settling: int = 600_000
    """Longer than any service keeps a message."""
    sweeping: int = 60_000
    """Within this time the sweep finds what is in the inbox."""


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
        self._store = store
        self._facility = facility
        self._settings = settings
        self._queues = queues
        self._allowances = allowances
        self._requests = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def compare(self, slice_: Slice) -> Outcome:
        """Compare both sides of a slice as they are now.

        Raises:
            Retry: a server does not answer.
        """
        match slice_.equality:
            case Equality.INBOX:
                return await self._inbox()
            case Equality.OBJECTS:
                parts = [outcome async for outcome in self._folders(slice_.folder)]
                blocks = [outcome async for outcome in self._block_folders(slice_.folder)]
                return Outcome.of([*parts, *blocks])
            case Equality.RECORDS:
                tally = await self._archive.ledger.tally(slice_.start, slice_.end)
                parts = [outcome async for outcome in self._records(slice_.start, slice_.end)]
                return replace(Outcome.of(parts), tally=tally)
            case Equality.SHOTS:
                return await self._shots(slice_)
            case Equality.EVENTS:
                return await self._events(slice_.start, slice_.end)

    async def folders(self) -> tuple[set[Slice], list[Imbalance]]:
        """Return the day folders of the data and the error bucket, and imbalances for all outside them."""
        days, strays = set(), []
        for bucket in self._settled_buckets:
            for name in await self._store.top(bucket, _TOP):
                day = Slice.of_folder(name.removesuffix("/"))
                if day is not None and name.endswith("/"):
                    days.add(day)
                elif (bucket, name) != (self._settings.data_bucket, CHARACTERISATIONS):
                    wrong = "in no day's folder, where the ledger has nothing"
                    strays.append(Imbalance(f"{bucket}/{name}", wrong))
        return days, strays

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

    @property
    def _settled_buckets(self) -> tuple[str, str]:
        return self._settings.data_bucket, self._settings.error_bucket

    @property
    def _settled_before(self) -> int:
        return epoch_now() - self._allowances.settling

    # objects

    async def _inbox(self) -> Outcome:
        bucket = self._settings.inbox_bucket
        _, strays = await self.folders()
        held: dict[str, HeldObject] = {}
        async for stored in self._store.list(bucket):
            if stored.etag:  # otherwise it is still being written
                held[object_id(bucket, stored.key, stored.etag)] = _held(stored)
        objects = await self._archive.known_objects.in_bucket(bucket, _STILL_IN_INBOX)
        for some in _parts(list(held), _PAGE):
            objects += await self._archive.known_objects.find(some)
        known = {each.id: each for each in objects}
        swept_before = epoch_now() - self._allowances.sweeping
        queued = await self._queues.under_way("ingest")
        compared = compare_inbox(bucket, held, known, self._settled_before, swept_before, queued)
        return Outcome.of([compared, Outcome(imbalances=tuple(strays))])

    async def _folders(self, day: str) -> AsyncIterator[Outcome]:
        for bucket in self._settled_buckets:
            prefix = after = f"{day}/"
            while after != prefix + LAST_CHARACTER:
                page = await self._store.page(bucket, prefix, after, _PAGE)
                last = page[-1].key if len(page) == _PAGE else prefix + LAST_CHARACTER
                yield await self._folder(bucket, page, after, last)
                after = last

    async def _block_folders(self, day: str) -> AsyncIterator[Outcome]:
        """Check that the ledger knows the objects that have blocks: it had each before its blocks."""
        bucket, names = self._settings.block_bucket, list[str]()
        async for name in self._store.folders(bucket, f"{day}/"):
            names.append(name)
            if len(names) == _PAGE:
                yield compare_block_folders(bucket, day, names, await self._archive.ledger.known(names))
                names = []
        yield compare_block_folders(bucket, day, names, await self._archive.ledger.known(names))

    async def _folder(self, bucket: str, page: Sequence[StoredObject], after: str, last: str) -> Outcome:
        """Compare what a bucket lists between two keys with what the ledger has there."""
        located = await self._archive.known_objects.located(after, last)
        known = [each for each in located if _is_in(each, bucket)]
        notes = await self._notes(bucket, page)
        held = [_held(stored) for stored in page if stored.key not in notes]
        etags = {stored.key: stored.etag for stored in page}
        settled_before = self._settled_before
        elsewhere = [
            each for each in known if etags.get(_key_of(each)) != each.etag and each.since >= settled_before
        ]
        moving = await self._still_in_inbox(elsewhere)
        rejected = known if bucket == self._settings.error_bucket else ()
        unexplained = await self._unexplained(rejected, notes)
        return compare_folder(bucket, held, known, moving, unexplained, settled_before)

    async def _notes(self, bucket: str, page: Sequence[StoredObject]) -> set[str]:
        """Return the keys of a page that are notes.

        Notes are in the error bucket, beside a file that the ledger has there.
        """
        if bucket != self._settings.error_bucket:
            return set()
        files = [each.key.removesuffix(NOTE_SUFFIX) for each in page if each.key.endswith(NOTE_SUFFIX)]
        known = await self._archive.known_objects.located_at(files)
        return {reason_key(_key_of(each)) for each in known if _is_in(each, bucket)}

    async def _unexplained(self, rejected: Sequence[KnownObject], notes: Collection[str]) -> set[str]:
        """Return those of these objects that have no note beside them; `notes` are known to exist."""

        async def has_note(each: KnownObject) -> bool:
            key = reason_key(_key_of(each))
            async with self._requests:
                return key in notes or await self._store.etag(self._settings.error_bucket, key) is not None

        found = await asyncio.gather(*map(has_note, rejected))
        return {each.id for each, is_there in zip(rejected, found, strict=True) if not is_there}

    async def _still_in_inbox(self, objects: Sequence[KnownObject]) -> set[str]:
        async def etag(each: KnownObject) -> str | None:
            async with self._requests:
                return await self._store.etag(self._settings.inbox_bucket, each.key)

        etags = await asyncio.gather(*map(etag, objects))
        return {each.id for each, found in zip(objects, etags, strict=True) if found == each.etag}

    # records

    async def _records(self, start: int, end: int) -> AsyncIterator[Outcome]:
        queued = await self._queues.under_way("validate", "aggregate")
        for minute in range(start, end, WINDOW_MS):
            objects = await self._archive.known_objects.arrived(minute, minute + WINDOW_MS)
            yield self._places(objects)
            for some in _parts(objects, _FILES_AT_ONCE):
                yield await self._records_of(some, queued)

    def _places(self, objects: Sequence[KnownObject]) -> Outcome:
        raw_keys = {
            each.id: (
                raw_key(name.starts_at, each.key, each.etag),
                unversioned_raw_key(name.starts_at, each.key),
            )
            for each in objects
            if (name := self._facility.file_name(each.key))
        }
        settings = self._settings
        buckets = Buckets(settings.inbox_bucket, settings.data_bucket, settings.error_bucket)
        return compare_places(objects, raw_keys, buckets, self._settled_before)

    async def _records_of(self, objects: Sequence[KnownObject], queued: bool) -> Outcome:
        keys = sorted({each.key for each in objects})
        latest: dict[str, KnownObject] = {}
        versions = await self._archive.known_objects.versions(keys)
        for version in sorted(versions, key=lambda each: each.arrived_at):
            if version.state is ObjectState.INGESTED:
                latest[version.key] = version
        replaced = {each.id for each in objects if latest.get(each.key, each).id != each.id}
        joined = [each for each in objects if each.id not in replaced and each.joined_at]
        ingested = [each for each in joined if each.state is ObjectState.INGESTED]
        found = await asyncio.gather(*map(self._blocks, ingested))
        blocks = {each.id: of_object for each, of_object in zip(ingested, found, strict=True)}
        return compare_records(
            objects,
            replaced,
            blocks,
            [each async for each in self._archive.records.rows(keys)],
            [each async for each in self._archive.windows.rows(keys)],
            self._settled_before,
            epoch_now() - DAY_MS,
            queued,
        )

    async def _blocks(self, each: KnownObject) -> Blocks:
        """Return every block in the object's folder, with its number of rows, read from the block's ends."""
        name = self._facility.file_name(each.key)
        if name is None:
            return {}
        bucket, folder = self._settings.block_bucket, block_folder(name.starts_at, each.id)
        blocks: dict[str, HeldBlock] = {}
        async with self._requests:
            async for stored in self._store.list(bucket, folder):
                try:
                    rows = rows_in_block(*await self._store.ends(bucket, stored.key, _END_BYTES))
                except ObjectGone:
                    continue
                except ValueError:
                    rows = None
                block = stored.key.removeprefix(folder).removesuffix(".arrow")
                blocks[block] = HeldBlock(rows, stored.etag)
        return blocks

    # shots

    async def _shots(self, slice_: Slice) -> Outcome:
        start, end = slice_.start, slice_.end
        windows = await self._archive.windows.closed(start, end)
        batches: list[ClosedShots] = []
        for some in _parts([window.id for window in windows], _WINDOWS_AT_ONCE):
            batches += [batch async for batch in self._archive.batches.closed(some)]
        last = max((max(window.revisions, default=start) for window in windows), default=start)
        stored: list[StoredShot] = []
        for minute in range(start, max(last + 1, end), WINDOW_MS):
            shots = await self._archive.shots.stored(minute, minute + WINDOW_MS)
            stored += [shot for shot in shots if Slice.of_window(shot.window_id) in (slice_, None)]
        queued = await self._queues.under_way("features", "inference")
        compared = compare_shots(windows, stored, batches, self._settled_before, queued)
        sources = await self._archive.records.sources(start, end)
        joined_from = [
            *((f"window {window.id}", file) for window in windows for file in window.files),
            *((f"document of {device} in the collection records", file) for device, file in sources),
        ]
        known = await self._archive.known_objects.known_keys(sorted({file for _, file in joined_from}))
        return Outcome.of([compared, compare_files(joined_from, known)])

    # events

    async def _events(self, start: int, end: int) -> Outcome:
        stored = await self._archive.events.stored_between(start, end)
        numbers: Numbers = await self._archive.events.numbers([event.number for event in stored])
        return compare_events(stored, numbers, self._settled_before)


def _held(stored: StoredObject) -> HeldObject:
    return HeldObject(stored.key, stored.etag, stored.size, stored.modified_ms)


def _is_in(each: KnownObject, bucket: str) -> bool:
    return each.location is not None and each.location[0] == bucket


def _key_of(each: KnownObject) -> str:
    return each.location[1] if each.location else ""


def _parts(items: Sequence[T], length: int) -> Iterable[Sequence[T]]:
    return (items[n : n + length] for n in range(0, len(items), length))
