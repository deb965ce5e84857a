"""Read buckets and ledger, one page at a time, and compare them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

from shotwatch_common.archive.known_objects import LAST_CHARACTER
from shotwatch_common.clock import epoch_now
from shotwatch_common.store import StoredObject
from shotwatch_operations.reconciliation.context import PAGE, ReconciliationContext, parts
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.identity import CALIBRATION, NOTE_SUFFIX, RESIDUALS, object_id, reason_key
from shotwatch_shots.reconciliation.objects import compare_block_folders, compare_folder, compare_inbox
from shotwatch_shots.reconciliation.outcome import Imbalance, Outcome
from shotwatch_shots.reconciliation.sides import HeldObject, KnownObject
from shotwatch_shots.reconciliation.slices import Slice
from shotwatch_shots.vocabulary import ObjectState

_TOP = 10_000
_STILL_IN_INBOX = (ObjectState.WAITING, ObjectState.DEAD_LETTERED)


class ObjectSides:
    """The two sides of the equalities of objects: the buckets and the ledger."""

    def __init__(self, context: ReconciliationContext) -> None:
        self._context = context
        self._archive = context.archive
        self._store = context.store
        self._settings = context.settings

    async def days(self) -> tuple[set[Slice], list[Imbalance]]:
        """Return the day folders of all buckets but the inbox, and imbalances for all outside them."""
        data, error, block = *self._context.settled_buckets, self._settings.block_bucket
        not_days = {(data, CALIBRATION), (block, RESIDUALS)}
        days, strays = set(), []
        for bucket in (data, error, block):
            for name in await self._store.top(bucket, _TOP):
                day = Slice.of_folder(name.removesuffix("/"))
                if day is not None and name.endswith("/"):
                    days.add(day)
                elif (bucket, name) not in not_days:
                    wrong = "in no day's folder, where the ledger has nothing"
                    strays.append(Imbalance(f"{bucket}/{name}", wrong))
        return days, strays

    async def inbox(self) -> Outcome:
        bucket = self._settings.inbox_bucket
        _, strays = await self.days()
        held: dict[str, HeldObject] = {}
        async for stored in self._store.list(bucket):
            held[object_id(bucket, stored.key, stored.etag)] = _held(stored)
        objects = await self._archive.known_objects.in_bucket(bucket, _STILL_IN_INBOX)
        for some in parts(list(held), PAGE):
            objects += await self._archive.known_objects.find(some)
        known = {each.id: each for each in objects}
        swept_before = epoch_now() - self._context.allowances.sweeping
        queued = await self._context.queues.under_way("ingest")
        compared = compare_inbox(bucket, held, known, self._context.settled_before, swept_before, queued)
        return Outcome.of([compared, Outcome(imbalances=tuple(strays))])

    async def folders(self, day: str) -> AsyncIterator[Outcome]:
        for bucket in self._context.settled_buckets:
            prefix = after = f"{day}/"
            while after != prefix + LAST_CHARACTER:
                page = await self._store.page(bucket, prefix, after, PAGE)
                last = page[-1].key if len(page) == PAGE else prefix + LAST_CHARACTER
                # Where the bucket lost many objects, the ledger has more than a page up to that key.
                last = await self._archive.known_objects.end_of_part(after, last, PAGE)
                yield await self._folder(bucket, [each for each in page if each.key <= last], after, last)
                after = last

    async def block_folders(self, day: str) -> AsyncIterator[Outcome]:
        """Check that the ledger knows the objects that have blocks: it had each before its blocks."""
        bucket, names = self._settings.block_bucket, list[str]()
        async for name in self._store.names(bucket, f"{day}/"):
            names.append(name)
            if len(names) == PAGE:
                yield compare_block_folders(bucket, day, names, await self._days_of(names))
                names = []
        yield compare_block_folders(bucket, day, names, await self._days_of(names))

    async def _days_of(self, names: Sequence[str]) -> dict[str, str | None]:
        """Return the folder of the day of each of these objects (`ID/`) that the ledger has."""
        known = await self._archive.known_objects.find([name.removesuffix("/") for name in names])
        files = {each.id: self._context.facility.file_name(each.key) for each in known}
        return {id_: f"{file.starts_at:%Y-%m-%d}" if file else None for id_, file in files.items()}

    async def _folder(self, bucket: str, page: Sequence[StoredObject], after: str, last: str) -> Outcome:
        """Compare what a bucket lists between two keys with what the ledger has there."""
        located = await self._archive.known_objects.located(after, last)
        known = [each for each in located if _is_in(each, bucket)]
        notes = await self._notes(bucket, page)
        held = [_held(stored) for stored in page if stored.key not in notes]
        etags = {stored.key: stored.etag for stored in page}
        settled_before = self._context.settled_before
        elsewhere = [
            each for each in known if etags.get(_key_of(each)) != each.etag and each.since >= settled_before
        ]
        moving = await self._still_in_inbox(elsewhere)
        rejected = known if bucket == self._settings.error_bucket else ()
        unexplained = await self._unexplained(rejected, notes)
        expired_before = await self._archive.retention.horizon() + DAY_MS
        return compare_folder(bucket, held, known, moving, unexplained, settled_before, expired_before)

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
            async with self._context.requests:
                return key in notes or await self._store.etag(self._settings.error_bucket, key) is not None

        found = await asyncio.gather(*map(has_note, rejected))
        return {each.id for each, is_there in zip(rejected, found, strict=True) if not is_there}

    async def _still_in_inbox(self, objects: Sequence[KnownObject]) -> set[str]:
        async def etag(each: KnownObject) -> str | None:
            async with self._context.requests:
                return await self._store.etag(self._settings.inbox_bucket, each.key)

        etags = await asyncio.gather(*map(etag, objects))
        return {each.id for each, found in zip(objects, etags, strict=True) if found == each.etag}


def _held(stored: StoredObject) -> HeldObject:
    return HeldObject(stored.key, stored.etag, stored.size, stored.modified_ms)


def _is_in(each: KnownObject, bucket: str) -> bool:
    return each.location is not None and each.location[0] == bucket


def _key_of(each: KnownObject) -> str:
    return each.location[1] if each.location else ""
