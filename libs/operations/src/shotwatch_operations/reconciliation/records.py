"""Read blocks, validated records and windows, some files at a time, and compare them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from shotwatch_common.blocks import rows_in_block
from shotwatch_common.clock import epoch_now
from shotwatch_common.store import ObjectGone
from shotwatch_operations.reconciliation.context import ReconciliationContext, parts
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.identity import BLOCK_SUFFIX, block_folder, raw_key, unversioned_raw_key
from shotwatch_shots.pulses import WINDOW_MS
from shotwatch_shots.reconciliation.objects import compare_places
from shotwatch_shots.reconciliation.outcome import Outcome
from shotwatch_shots.reconciliation.records import Blocks, compare_records
from shotwatch_shots.reconciliation.sides import Buckets, HeldBlock, KnownObject
from shotwatch_shots.vocabulary import ObjectState

_FILES_AT_ONCE = 200
_END_BYTES = 32 << 10
"""Length read at each end of a block: the ends hold its description and the lengths of its columns."""


class RecordSides:
    """The sides of the equality of records: blocks, validated records and windows."""

    def __init__(self, context: ReconciliationContext) -> None:
        self._context = context
        self._archive = context.archive

    async def compare(self, start: int, end: int) -> AsyncIterator[Outcome]:
        queued = await self._context.queues.under_way("validate", "aggregate")
        for minute in range(start, end, WINDOW_MS):
            objects = await self._archive.known_objects.arrived(minute, minute + WINDOW_MS)
            yield self._places(objects)
            for some in parts(objects, _FILES_AT_ONCE):
                yield await self._records_of(some, queued)

    def _places(self, objects: Sequence[KnownObject]) -> Outcome:
        raw_keys = {
            each.id: (
                raw_key(name.starts_at, each.key, each.etag),
                unversioned_raw_key(name.starts_at, each.key),
            )
            for each in objects
            if (name := self._context.facility.file_name(each.key))
        }
        settings = self._context.settings
        buckets = Buckets(settings.inbox_bucket, settings.data_bucket, settings.error_bucket)
        return compare_places(objects, raw_keys, buckets, self._context.settled_before)

    async def _records_of(self, objects: Sequence[KnownObject], queued: bool) -> Outcome:
        keys = sorted({each.key for each in objects})
        latest: dict[str, KnownObject] = {}
        versions = await self._archive.known_objects.versions(keys)
        for version in sorted(versions, key=lambda each: each.arrived_at):
            if version.state in (ObjectState.INGESTED, ObjectState.EXPIRED):
                latest[version.key] = version
        replaced = {each.id: later for each in objects if (later := latest.get(each.key, each)).id != each.id}
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
            self._context.settled_before,
            epoch_now() - DAY_MS,
            queued,
        )

    async def _blocks(self, each: KnownObject) -> Blocks:
        """Return every block in the object's folder, with its number of rows, read from the block's ends."""
        name = self._context.facility.file_name(each.key)
        if name is None:
            return {}
        bucket, folder = self._context.settings.block_bucket, block_folder(name.starts_at, each.id)
        blocks: dict[str, HeldBlock] = {}
        async with self._context.requests:
            async for stored in self._context.store.list(bucket, folder):
                try:
                    rows = rows_in_block(*await self._context.store.ends(bucket, stored.key, _END_BYTES))
                except ObjectGone:
                    continue
                except ValueError:
                    rows = None
                blocks[_block_name(stored.key, folder)] = HeldBlock(rows, stored.etag)
        return blocks


def _block_name(key: str, folder: str) -> str:
    """Return the name of the block with this key in a folder; the whole key if no block can have it."""
    name = key.removeprefix(folder)
    return name.removesuffix(BLOCK_SUFFIX) if name.endswith(BLOCK_SUFFIX) else key
