"""aggregate: join records into shots.

Consumes `FileValidated`, publishes `ShotBatch`.

Delivery: store the last states of the devices. Add the records to the windows of their places by
compare-and-set; the same write stores the message that closes the completed shots in the window's outbox.
Store the batch, publish the message, and remove it from the outbox. Then note in the ledger that the file is
joined. Handling a message a second time changes nothing. If the service dies before a window is written, the
file is delivered again. If it dies afterwards, the outbox remains, and any replica empties it.

A shot that lacks a member closes when its lateness is over and no file that may hold the member is under way
(stragglers). A closed shot is closed once more on request (reprocessing).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from time import monotonic
from weakref import WeakValueDictionary

import numpy as np

from shotwatch_aggregate.domain.join import (
    Closing,
    admit,
    batch_of,
    close,
    close_due,
    due_shots,
    retract,
    takes,
    without_record_before,
)
from shotwatch_aggregate.domain.split import WindowRecords, nothing_of, require_few_windows, split
from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_aggregate.stragglers import Stragglers
from shotwatch_common import faults, metrics
from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.windows import NEVER
from shotwatch_common.background import Items, every
from shotwatch_common.bus import Subscription
from shotwatch_common.clock import epoch_now, latest_record_ms
from shotwatch_common.process import PREFETCH_WAITING, Service, ServiceContext
from shotwatch_common.telemetry import continued_trace, current_traceparent, link_current_span
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.errors import Bug
from shotwatch_shots.ledger import JoinFacts
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import window_id
from shotwatch_shots.records import NO_STATE, BlockRef, FileValidated, ObjectRef
from shotwatch_shots.window import RecordSource, Window

Change = Callable[[Window], tuple[Window, Closing | None]]
SlotKey = tuple[ShotSeries, int]

REMEMBERED = 64
"""Number of windows that a replica keeps in memory: those that receive files, with some to spare."""
REMEMBERED_S = 5.0
"""For how long a window in memory is used, in seconds.

A window that is deleted begins with version 1 again, so its version does not show that it is another one.
Retention deletes no window that was written so recently.
"""
UNSENT_MS = 15_000
"""Time after which an unsent message is published again, in ms: its replica is assumed to have died."""


async def assemble(context: ServiceContext[AggregateSettings], _resources: AsyncExitStack) -> Service:
    aggregator = Aggregator(context)
    pause = context.settings.window_sweep_seconds

    async def close_overdue() -> None:
        await every(pause, aggregator.close_overdue, context.log)

    async def publish_unsent() -> None:
        await every(pause, aggregator.publish_unsent, context.log)

    subscription = Subscription("aggregate", FileValidated, aggregator.join, PREFETCH_WAITING)
    return Service((subscription,), (close_overdue, publish_unsent))


class Aggregator:
    """The join with its input and output: windows in the database, messages on the bus."""

    def __init__(self, context: ServiceContext[AggregateSettings]) -> None:
        self._context = context
        self._facility = context.facility
        self._windows = context.archive.windows
        self._stragglers = Stragglers(context)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._written: dict[str, tuple[Window, float]] = {}
        self._to_close = Items(context.servers_answer, context.log)
        self._to_send = Items(context.servers_answer, context.log)

    async def join(self, message: FileValidated) -> None:
        """Add the records of a file to their windows, and close the shots that are due.

        Raises:
            Reject: the records lie in more windows than those of a file may.
            Bug: a window could not be written. The records are in the other windows nevertheless.
        """
        require_few_windows(message, self._facility)
        parts, facts = self._split(message)
        await asyncio.gather(self._add_empty_entries(message, parts), self._remember_devices(message))
        unexpected = no_room = 0
        failures = []
        for (series, start), records in parts.items():
            try:
                window = await self._change(series, start, self._admit_all(message.object, records, series))
            except Bug as error:
                failures.append(error)
                continue
            unexpected += sum(len(each.row) for each in records if each.device not in window.devices)
            no_room += self._without_room(window, message.object)
        if failures:
            raise failures[0]
        facts = facts.model_copy(update={"unexpected": unexpected, "no_room": no_room})
        await self._context.archive.ledger.note_joined(message.object.object_id, facts)

    async def close_overdue(self) -> None:
        """Close shots whose lateness is over and that wait for no file, and shots requested again."""
        overdue = await self._windows.overdue(epoch_now(), besides=self._to_close.waiting)
        if overdue:
            await self._stragglers.poll(overdue)
        await self._to_close.each(overdue, self._close_window)
        metrics.WINDOWS_OPEN.set(await self._windows.open())

    async def publish_unsent(self) -> None:
        """Publish messages that a replica stored in an outbox but did not publish before it died."""
        long_ago = epoch_now() - UNSENT_MS
        unsent = await self._windows.unsent(long_ago, besides=self._to_send.waiting)
        await self._to_send.each(unsent, self._send_outbox)

    async def _close_window(self, window_id: str) -> None:
        window = await self._windows.load(window_id, self._facility.interval)
        if window is None:
            return
        if not window.again and self._stragglers.hold(window_id, window.series, window.start):
            return
        with continued_trace(self._context.tracer, "close overdue shots", window.traceparent):
            await self._change(window.series, window.start, close_due)

    async def _send_outbox(self, window_id: str) -> None:
        window = await self._windows.load(window_id, self._facility.interval)
        if window is not None:
            await self._empty_outbox(window_id, window.outbox.values())
            await self._windows.note_sent(window_id)

    def _split(self, message: FileValidated) -> tuple[dict[SlotKey, list[WindowRecords]], JoinFacts]:
        parts: defaultdict[SlotKey, list[WindowRecords]] = defaultdict(list)
        off_grid = second_samples = 0
        for judged in message.devices:
            interval = self._facility.interval(judged.series.interval)
            source = _source(message.object, judged.block)
            pieces = split(judged, source, interval, self._facility.state.on)
            off_grid += len(pieces.off_grid)
            second_samples += len(pieces.second_samples)
            for start, records in pieces.by_window.items():
                parts[judged.series, start].append(records)
        return parts, JoinFacts(refused=message.refused, off_grid=off_grid, second_samples=second_samples)

    async def _add_empty_entries(
        self, message: FileValidated, parts: dict[SlotKey, list[WindowRecords]]
    ) -> None:
        """Add an empty entry to `parts` for each window that holds an earlier version of the file only."""
        for slot in await self._windows.of_file(message.object.key):
            if slot not in parts:
                parts[slot] = [
                    nothing_of(judged.device, judged.kind, _source(message.object, judged.block))
                    for judged in message.devices
                    if judged.series == slot[0]
                ]

    def _without_room(self, window: Window, obj: ObjectRef) -> int:
        """Return for how many of the object's records the window had no room; log which files gave way."""
        if window.unused:
            keys = sorted({unused.block.object_key for unused in window.unused})
            self._context.log.warning("no room", window=window.id, files=len(keys), first=keys[0])
        return sum(unused.rows for unused in window.unused if unused.block.object_id == obj.object_id)

    def _admit_all(self, obj: ObjectRef, records: Sequence[WindowRecords], series: ShotSeries) -> Change:
        expected = self._expected(series)
        devices = {record.device for record in records}

        def change(before: Window) -> tuple[Window, Closing | None]:
            after = retract(before, obj.key, devices, obj.arrived_at)
            for record in records:
                if takes(after, record.device, expected):
                    after = admit(after, record)
            return close(after, due_shots(before, after, expected))

        return change

    async def _change(self, series: ShotSeries, start: int, change: Change) -> Window:
        """Apply a change to the stored window, publish the resulting message, and return the window."""
        id_ = window_id(series, start)
        lock = self._locks.setdefault(id_, asyncio.Lock())
        async with lock:
            window, published = await self._saved_change(id_, series, start, change)
        if published:
            faults.reach("aggregate.after_save")
        await self._empty_outbox(id_, published)
        return window

    async def _saved_change(
        self, window_id: str, series: ShotSeries, start: int, change: Change
    ) -> tuple[Window, Sequence[ShotBatch]]:
        """Apply a change by compare-and-set; repeat it while another replica changes the window meanwhile.

        The window that this replica wrote last is taken from memory. If it is out of date, it is not written.

        Return the window, and the batches that closed.
        """
        interval = self._facility.interval(series.interval)
        while True:
            written = self._recall(window_id)
            stored = written or await self._windows.load(window_id, self._facility.interval)
            before = stored or Window.empty(series.place, interval, start)
            next_version = replace(before, version=before.version + 1, unused=())
            after, closing = change(next_version)
            if after is next_version:
                if written is not None:
                    continue  # it may be out of date: ask the database
                return before, ()
            closed = () if closing is None else (await self._batch(closing, series),)
            outbox = {**after.outbox, **{batch.batch_id: batch for batch in closed}}
            after = replace(after, outbox=outbox, traceparent=current_traceparent())
            if await self._windows.save(after, _deadline(after)):
                if not outbox:
                    self._remember(window_id, after)
                return after, closed

    def _remember(self, window_id: str, window: Window) -> None:
        if len(self._written) == REMEMBERED:
            self._written.pop(next(iter(self._written)))
        self._written[window_id] = window, monotonic()

    def _recall(self, window_id: str) -> Window | None:
        """Return the window that this replica has just written, and forget it."""
        window, written_at = self._written.pop(window_id, (None, 0.0))
        return window if monotonic() - written_at < REMEMBERED_S else None

    async def _batch(self, closing: Closing, series: ShotSeries) -> ShotBatch:
        expected = self._expected(series)
        on_before = await self._on_before(closing.window.start, without_record_before(closing, expected))
        sources = [source for columns in closing.window.devices.values() for source in columns.sources]
        link_current_span(sorted({source.traceparent for source in sources if source.traceparent}))
        return batch_of(closing, expected, on_before, max(source.arrived_at for source in sources))

    async def _on_before(self, start: int, devices: Sequence[str]) -> set[str]:
        """Return those of the devices whose last state before the start of the window is ON."""
        if not devices:
            return set()
        states = await self._context.archive.states_before(devices, start)
        return {device for device, state in states.items() if state == self._facility.state.on}

    async def _empty_outbox(self, window_id: str, outbox: Iterable[ShotBatch]) -> None:
        for closed in outbox:
            await self._context.archive.batches.add(closed)
            await self._context.bus.send("features", closed)
            faults.reach("aggregate.after_publish")
            await self._windows.remove_from_outbox(window_id, closed.batch_id)
            metrics.shots_closed(closed)
            self._context.log.info("shots closed", batch=closed.batch_id, shots=len(closed.pulses))

    async def _remember_devices(self, message: FileValidated) -> None:
        """Record the last state of each device.

        Devices that the facility file does not list count as one for each series, because their names come
        from files: there is no end of them, and every view without a time reads the newest record of all.
        """
        latest = latest_record_ms(self._facility)
        for judged in message.devices:
            with_state = np.flatnonzero(judged.state != NO_STATE)
            if len(with_state):
                last = with_state[-1]
                seen = LastState(int(judged.times[last]), judged.states[judged.state[last]])
                listed = self._facility.lists(judged.device)
                name = judged.device if listed else str(judged.series)
                await self._context.archive.devices.saw(name, seen, latest)

    def _expected(self, series: ShotSeries) -> dict[str, DeviceKind]:
        expected = self._facility.expected_devices(series)
        if expected is None:
            return {}
        devices = (self._facility.device(group) for group in expected.devices)
        return {device.group: device.kind for device in devices if device is not None}


def _deadline(window: Window) -> int:
    if window.again:
        return epoch_now()
    return epoch_now() + round(window.interval.lateness_s * 1000) if window.open.any() else NEVER


def _source(obj: ObjectRef, block: BlockRef) -> RecordSource:
    return RecordSource(block, obj.arrived_at, current_traceparent())
