"""Day tables: write the shots of closed hours as Parquet, and again what changes later (ADR 49).

Order of effects, for an hour with changes: note it; read its changed shots; write the file, then the manifest
that names it; record that the hour is written. Whatever is interrupted is found by the note and done again.
A check of a file is noted before the file is written, and before it is replaced. A file that no manifest
names when its check is due is removed. Only the holder of the lease writes or deletes.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from socket import gethostname
from time import monotonic

import pyarrow as pa

from shotwatch_common import faults
from shotwatch_common.archive.tables import ChangedHour
from shotwatch_common.background import Items
from shotwatch_common.clock import epoch_now
from shotwatch_common.process import ServiceContext
from shotwatch_common.store import ObjectGone
from shotwatch_common.tables.archived import ArchivedShots
from shotwatch_common.tables.table_store import TableStore
from shotwatch_history.domain.tables import changed_hours, is_closed, series_of, window_span
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.batch import CompletedBatch
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.place import Place
from shotwatch_shots.pulses import instant
from shotwatch_tables.manifest import (
    GRACE_MS,
    DayManifest,
    TableFile,
    day_start,
    file_key,
)
from shotwatch_tables.parquet import upserted
from shotwatch_tables.pieces import TableContent, write_pieces
from shotwatch_tables.ranges import column_ranges
from shotwatch_tables.schema import ShotTableSchema

BUDGET_S = 20.0
"""Time limit in seconds after which a run begins no further hour."""
LEASE_MS = 60_000
"""Length of the lease, extended by each run and before each manifest (ms)."""
_OVERLAP_MS = 60_000
"""How long after its own time a judgement may become visible: clocks differ, and writes take time (ms)."""
_STEP_MS = 300_000
"""Length of the times whose batches are read at once: 500 at the facility's full rate."""
_QUIET_MS = 10_000
"""An hour that has not changed for this long is written (ms)."""
_LONGEST_WAIT_MS = 45_000
"""An hour that keeps changing is written after this time (ms), unless writing takes too large a share."""
_PAUSE = 20
"""Hours that keep changing are not written for this many times the duration of the last write."""
_MOST_WAITING = 200
"""Number of hours that may wait before no further changes are noted; two more for each place."""


class TableLease:
    """The right to change day tables: one process has it at a time, and in this process one job."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._archive = context.archive
        self._holder = f"{gethostname()}:{context.settings.health_port}"
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait until no other job of this process has the right; return whether this process has it."""
        async with self._turn:
            yield await self.extended()

    async def extended(self) -> bool:
        """Take or extend the lease; return whether this process has it for LEASE_MS from now on."""
        return await self._archive.tables.lease(self._holder, LEASE_MS)


class TableCompaction:
    """The periodic compaction of closed hours into day tables."""

    def __init__(self, context: ServiceContext[HistorySettings], lease: TableLease) -> None:
        self._lease = lease
        self._archive = context.archive
        self._facility = context.facility
        self._log = context.log
        self._tables = TableStore(context.store, context.settings.table_bucket)
        self._shots = ArchivedShots(context.archive)
        self._hours = Items(context.servers_answer, context.log)
        self._schemas: dict[Place, ShotTableSchema] = {}
        self._noted = set[CompletedBatch]()
        """The batches of the overlap, so that they are noted once."""
        self._paused_until = 0.0
        """By the monotonic clock, in seconds."""

    async def poll(self) -> None:
        """Record what has changed, and write the hours that are due, oldest change first.

        Raises:
            Retry: a server does not answer.
        """
        async with self._lease.turn() as is_ours:
            if is_ours:
                await self._write_due()

    async def _write_due(self) -> None:
        waiting = await self._archive.tables.changed()
        if len(waiting) < _MOST_WAITING + 2 * len(self._facility.places):
            await self._note_changes()
            waiting = await self._archive.tables.changed()
            if waiting:
                faults.reach("history.after_note")
        due = {hour.name: hour for hour in waiting if self._is_due(hour)}
        await self._hours.each(due, partial(self._write_before, monotonic() + BUDGET_S, due))
        await self._remove_unnamed()

    async def _note_changes(self) -> None:
        """Record the hours of the batches that were judged or measured since the last call."""
        now, deadline = epoch_now(), monotonic() + BUDGET_S
        until = await self._archive.tables.noted_until()
        first = await self._archive.shots.first_judged() if until is None else until - _OVERLAP_MS
        start = now if first is None else first
        while start < now and monotonic() <= deadline:
            end = min(start + _STEP_MS, now)
            completed = set(await self._archive.batches.completed(start, end))
            changed = changed_hours(completed - self._noted, self._facility)
            await self._archive.tables.note(changed, end)
            self._noted = {each for each in self._noted | completed if each.at >= end - _OVERLAP_MS}
            start = end if completed else await self._archive.batches.first_completed(end, now) or now

    def _is_due(self, hour: ChangedHour) -> bool:
        now = epoch_now()
        if not is_closed(hour.start, now):
            return False
        waited = now - hour.first_at >= _LONGEST_WAIT_MS and monotonic() >= self._paused_until
        return now - hour.last_at >= _QUIET_MS or waited

    async def _write_before(self, deadline: float, due: Mapping[str, ChangedHour], name: str) -> None:
        began = monotonic()
        if began <= deadline and await self._write(due[name]):
            self._paused_until = monotonic() + _PAUSE * (monotonic() - began)
            pa.default_memory_pool().release_unused()

    async def _write(self, hour: ChangedHour) -> bool:
        """Write the file and the manifest of an hour; return whether the lease still holds."""
        manifest = await self._tables.manifest(hour.place, day_start(hour.start))
        earlier = manifest.file(hour.start)
        table = await self._merged(hour, earlier)
        if table.num_rows:
            written = await asyncio.to_thread(write_pieces, table)
            file = _file(hour, table, written, await asyncio.to_thread(column_ranges, table))
            # The earlier one now: whoever repeats this after the manifest is written finds it no more.
            both = {file.key, earlier.key if earlier else file.key}
            await self._check_later(manifest, sorted(both))
            faults.reach("history.after_table_check")
            await self._tables.put_file(file.key, written.content)
            faults.reach("history.after_table_file")
            if not await self._lease.extended():
                return False
            await self._tables.put_manifest(manifest.with_file(file))
            faults.reach("history.after_manifest")
            self._log.info(
                "table written", place=str(hour.place), hour=instant(hour.start).isoformat(), rows=file.rows
            )
        if not await self._lease.extended():  # another writer may have replaced our manifest, or we theirs
            return False
        await self._archive.tables.written(hour)
        faults.reach("history.after_hour")
        return True

    async def _merged(self, hour: ChangedHour, earlier: TableFile | None) -> pa.Table:
        """Return the shots of an hour: those of its file, and what has changed since."""
        schema, before, windows = self._schema(hour.place), None, hour.windows
        if earlier is not None:
            try:
                before = await self._tables.read(earlier)
            except (ObjectGone, ValueError) as error:
                self._log.error("table lost", file=earlier.key, why=str(error))
                return upserted(schema, None, await self._read(schema, hour.start, hour.start + HOUR_MS))
        shots = [table for window in windows for table in await self._changed(schema, hour, window)]
        return await asyncio.to_thread(upserted, schema, before, shots)

    async def _changed(self, schema: ShotTableSchema, hour: ChangedHour, window: str) -> list[pa.Table]:
        start, end = window_span(window, self._facility)
        span = max(start, hour.start), min(end, hour.start + HOUR_MS)
        return await self._read(schema, *span, series_of(window).interval)

    async def _read(
        self, schema: ShotTableSchema, start: int, end: int, interval: str | None = None
    ) -> list[pa.Table]:
        return [table async for table in self._shots.tables(schema, start, end, interval)]

    def _schema(self, place: Place) -> ShotTableSchema:
        if place not in self._schemas:
            self._schemas[place] = ShotTableSchema.of(self._facility, place)
        return self._schemas[place]

    async def _check_later(self, day: DayManifest, keys: Sequence[str]) -> None:
        await self._archive.tables.check_later(keys, day.place, day.day, epoch_now() + GRACE_MS)

    async def _remove_unnamed(self) -> None:
        """Remove the files whose check is due and that no manifest names."""
        for file in await self._archive.tables.to_check():
            if not await self._lease.extended():
                return
            manifest = await self._tables.manifest(file.place, file.day)
            if file.key not in {each.key for each in manifest.files}:
                await self._tables.remove(file.key)
            await self._archive.tables.checked(file)


class TableRetention:
    """The deletion of the tables of days that have not changed for long."""

    def __init__(self, context: ServiceContext[HistorySettings], lease: TableLease) -> None:
        self._lease = lease
        self._archive = context.archive
        self._log = context.log
        self._tables = TableStore(context.store, context.settings.table_bucket)
        self._keep_ms = context.settings.table_days * DAY_MS

    async def poll(self) -> None:
        """Delete the tables that were last written too long ago: the manifests now, the files later.

        Raises:
            Retry: a server does not answer.
        """
        async with self._lease.turn() as is_ours:
            if is_ours:
                await self._delete_old()

    async def _delete_old(self) -> None:
        now = epoch_now()
        horizon = now - self._keep_ms
        days = [each async for each in self._tables.days() if each[1] < horizon]  # none is written earlier
        for place, day in days:
            if not await self._lease.extended():
                return
            written = await self._tables.written_at(place, day)
            if written and written < horizon:
                await self._delete(place, day, now + GRACE_MS)

    async def _delete(self, place: Place, day: int, due_at: int) -> None:
        manifest = await self._tables.manifest(place, day)
        await self._archive.tables.check_later([file.key for file in manifest.files], place, day, due_at)
        await self._tables.remove_manifest(place, day)
        self._log.info("table deleted", place=str(place), day=instant(day).isoformat())


def _file(hour: ChangedHour, table: pa.Table, written: TableContent, ranges: str) -> TableFile:
    times = table["time"].cast(pa.int64())
    return TableFile(
        key=file_key(hour.place, hour.start, written.content),
        start=hour.start,
        rows=table.num_rows,
        size=written.content.size,
        first=times[0].as_py() // 1_000_000,
        last=times[-1].as_py() // 1_000_000,
        pieces_at=written.pieces_at,
        pieces_size=written.pieces_size,
        ranges=ranges,
    )
