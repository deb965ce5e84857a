"""Retention: delete old shots from the database, and old blocks from the object store (ADR 38).

What an event is about, or a label, is kept.
"""

from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Self

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import ServiceContext
from shotwatch_common.store import StoredObject
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.facility import Facility
from shotwatch_shots.feedback import ShotSpan
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import window_id, window_length_ms, window_start
from shotwatch_shots.reconciliation.sides import KnownObject
from shotwatch_shots.reconciliation.slices import Slice
from shotwatch_shots.vocabulary import ObjectState

BUDGET_S = 20.0
"""Time limit in seconds after which a run deletes no further shots; the next run goes on."""
_STEP_MS = 300_000
"""Length of the times whose batches are read at once: 500 at the facility's full rate."""
_STAGE = "history"


class _NeededWindows:
    """The windows that are kept although they are old: an event or a label is about them."""

    def __init__(
        self, archive: Archive, facility: Facility, labelled: Sequence[tuple[ShotSeries, ShotSpan]]
    ) -> None:
        self._archive = archive
        self._facility = facility
        self._labelled = labelled

    @classmethod
    async def now(cls, archive: Archive, facility: Facility) -> Self:
        """Return what is needed according to the labels that there are now."""
        return cls(archive, facility, await archive.feedback.labelled())

    async def has(self, series: ShotSeries, start: int) -> bool:
        """Return whether a shot of the window of a series that starts at a time (epoch ms) is needed."""
        end = start + window_length_ms(self._facility.interval(series.interval))
        return any(
            of == series and since < end and start <= until for of, (since, until) in self._labelled
        ) or await self._archive.events.any_of(series, start, end)


class ShotRetention:
    """The deletion of old shots, with all that the database has of them."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._archive = context.archive
        self._facility = context.facility
        self._log = context.log
        self._keep_ms = context.settings.shot_days * DAY_MS
        self._why = f"judged more than {context.settings.shot_days} days ago"

    async def poll(self) -> None:
        """Delete the shots that were judged too long ago, in the order in which they were judged.

        Raises:
            Retry: the database does not answer.
        """
        horizon, deadline = epoch_now() - self._keep_ms, monotonic() + BUDGET_S
        reached = await self._archive.retention.expired_until() or await self._archive.shots.first_judged()
        if reached is None or reached >= horizon:
            return
        await self._archive.retention.begin(horizon)
        needed = await _NeededWindows.now(self._archive, self._facility)
        until, deleted = reached, 0
        while until < horizon and monotonic() < deadline:
            step_end = min(until + _STEP_MS, horizon)
            for window in await self._archive.batches.windows_judged(until, step_end):
                deleted += await self._delete(window, needed, horizon)
            until = step_end
        await self._archive.retention.note_deleted(until)
        if deleted:
            self._log.info("old shots deleted", windows=deleted, judged_before=until)

    async def _delete(self, window: str, needed: _NeededWindows, horizon: int) -> bool:
        """Delete a window and all that belongs to it, unless it is needed; return whether it was deleted.

        The batches are deleted last: by them, an interrupted deletion is found again.
        """
        archive = self._archive
        last = await archive.batches.last_judged(window)
        batches = [batch for batch, _ in await archive.batches.of_window(window)]
        if last is None or last >= horizon or not batches:
            return False
        if await needed.has(batches[0].series, window_start(window)):
            return False
        keys = {block.object_key for each in batches for member in each.members for block in member.blocks}
        files = sorted(keys.union(await archive.retention.files(window)))
        versions = await archive.known_objects.versions(files)
        if any(_is_in_use(each, horizon) for each in versions):
            return False
        await archive.ledger.expire([each.id for each in versions], _STAGE, self._why)
        if not await archive.retention.delete_window(window):
            return False
        for each in batches:
            await archive.shots.forget(each)
        ids = [each.batch_id for each in batches]
        await archive.measurements.forget(ids)
        unused = [key for key in files if not await archive.windows.of_file(key)]
        await archive.records.forget(unused)
        await archive.retention.delete_unused_sources(unused)
        await archive.batches.forget(ids)
        return True


class BlockRetention:
    """The deletion of old blocks. They can be made again from the raw files."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._archive = context.archive
        self._facility = context.facility
        self._store = context.store
        self._bucket = context.settings.block_bucket
        self._log = context.log
        self._keep_ms = context.settings.delete_blocks_days * DAY_MS

    async def poll(self) -> None:
        """Delete the blocks of each object whose blocks were all written too long ago.

        Raises:
            Retry: the database or the store does not answer.
        """
        horizon = epoch_now() - self._keep_ms
        needed, deleted = await _NeededWindows.now(self._archive, self._facility), 0
        days = [name async for name in self._store.folders(self._bucket, "") if _is_old(name, horizon)]
        for day in days:
            async for id_, blocks in self._folders(f"{day}/"):
                old = all(block.modified_ms < horizon for block in blocks)
                if old and await self._is_finished(id_, needed):
                    for block in blocks:
                        await self._store.remove(self._bucket, block.key)
                    deleted += len(blocks)
        if deleted:
            self._log.info("old blocks deleted", blocks=deleted, written_before=horizon)

    async def _folders(self, prefix: str) -> AsyncIterator[tuple[str, list[StoredObject]]]:
        """Yield the id of each object that has blocks under a prefix, with these blocks."""
        id_, blocks = "", list[StoredObject]()
        async for block in self._store.list(self._bucket, prefix):
            of_object = block.key.removeprefix(prefix).partition("/")[0]
            if of_object != id_ and blocks:
                yield id_, blocks
                blocks = []
            id_ = of_object
            blocks.append(block)
        if blocks:
            yield id_, blocks

    async def _is_finished(self, object_id: str, needed: _NeededWindows) -> bool:
        """Return whether all shots of an object are judged, and none is needed."""
        for each in await self._archive.known_objects.find([object_id]):
            for series, start in await self._archive.windows.of_file(each.key):
                unjudged = await self._archive.batches.last_judged(window_id(series, start)) is None
                if unjudged or await needed.has(series, start):
                    return False
            return True
        return False  # the ledger does not know it; reconciliation reports it


def _is_in_use(version: KnownObject, horizon: int) -> bool:
    """Return whether a file waits for a stage or a person, or came later than `horizon` (epoch ms)."""
    if version.state is ObjectState.INGESTED:
        return max(version.since, version.joined_at) >= horizon
    return version.state in (ObjectState.WAITING, ObjectState.DEAD_LETTERED)


def _is_old(folder: str, horizon: int) -> bool:
    """Return whether a folder of the block bucket is a day that began before `horizon` (epoch ms)."""
    day = Slice.of_folder(folder)
    return day is not None and day.start < horizon
