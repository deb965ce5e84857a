"""aggregate: join records into shots.

Consumes `FileValidated`, publishes `ShotsClosed`.

Delivery: a file's records are added to the windows of their places by compare-and-set. The same write stores
the message that closes the completed shots in the outbox of the window. Then the batch is stored, the message
is published, and the message is removed from the outbox. Handling a message a second time changes nothing. If
the service dies before the window is written, nothing is stored and the file is delivered again. If it dies
afterwards, the outbox remains, and any replica empties it.

A shot that lacks a member closes when its lateness is over and no file that may hold the member is under way
(stragglers). A closed shot is closed once more on request (reprocessing).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np

from shotwatch_aggregate.documents import from_document, to_document, to_message
from shotwatch_aggregate.domain.join import (
    Batch,
    admit,
    close,
    close_due,
    nothing_of,
    retract,
    ripe,
    split,
    takes,
    unheard_before,
)
from shotwatch_aggregate.domain.window import Records, Source, Window
from shotwatch_aggregate.settings import AggregateSettings
from shotwatch_aggregate.stragglers import Stragglers
from shotwatch_common import faults, metrics
from shotwatch_common.archive.devices import LastState
from shotwatch_common.archive.windows import NEVER
from shotwatch_common.background import Items, every
from shotwatch_common.bus import Subscription
from shotwatch_common.clock import epoch_now, latest_record_ms
from shotwatch_common.process import PREFETCH, Edges, Service
from shotwatch_common.telemetry import continued_trace, current_traceparent, link_current_span
from shotwatch_shots.batch import ShotsClosed
from shotwatch_shots.errors import Bug, Reject
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import window_id
from shotwatch_shots.records import NO_STATE, FileValidated, JudgedRecords, ObjectRef
from shotwatch_shots.vocabulary import DeviceKind

Change = Callable[[Window], tuple[Window, Batch | None]]
SlotKey = tuple[ShotSeries, int]

UNSENT_MS = 15_000
"""Time after which an unsent message is published again, in ms: its replica is assumed to have died."""


async def assemble(edges: Edges[AggregateSettings], _resources: AsyncExitStack) -> Service:
    aggregator = Aggregator(edges)
    pause = edges.settings.window_sweep_seconds

    async def close_overdue() -> None:
        await every(pause, aggregator.close_overdue, edges.log)

    async def publish_unsent() -> None:
        await every(pause, aggregator.publish_unsent, edges.log)

    subscription = Subscription("aggregate", FileValidated, aggregator.join, PREFETCH)
    return Service((subscription,), (close_overdue, publish_unsent))


class Aggregator:
    """The join with its input and output: windows in the database, messages on the bus."""

    def __init__(self, edges: Edges[AggregateSettings]) -> None:
        self._edges = edges
        self._facility = edges.facility
        self._windows = edges.archive.windows
        self._stragglers = Stragglers(edges)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._to_close = Items(edges.servers_answer, edges.log)
        self._to_send = Items(edges.servers_answer, edges.log)

    async def join(self, message: FileValidated) -> None:
        """Add the records of a file to their windows, and close the shots that are ripe.

        Raises:
            Reject, Bug: a window could not take its records. The records are in the other windows
                nevertheless.
        """
        parts, facts = self._split(message)
        await self._leave(message, parts)
        await self._remember_devices(message)
        unexpected, failures = 0, []
        for (series, start), records in parts.items():
            try:
                unexpected += await self._join_window(message.object, series, start, records)
            except (Reject, Bug) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        joined = {**facts, "unexpected": unexpected, "joined_at": epoch_now()}
        await self._edges.archive.ledger.note(message.object.object_id, joined)

    async def close_overdue(self) -> None:
        """Close shots whose lateness is over and that wait for no file, and shots requested again."""
        overdue = await self._windows.overdue(epoch_now(), besides=self._to_close.waiting)
        if overdue:
            await self._stragglers.look(overdue)
        await self._to_close.each(overdue, self._close_window)
        metrics.WINDOWS_OPEN.set(await self._windows.open())

    async def publish_unsent(self) -> None:
        """Publish messages that a replica stored in an outbox but did not publish before it died."""
        long_ago = epoch_now() - UNSENT_MS
        unsent = await self._windows.unsent(long_ago, besides=self._to_send.waiting)
        await self._to_send.each(unsent, self._send_held_back)

    async def _close_window(self, window_id: str) -> None:
        document = await self._windows.load(window_id)
        if document is None:
            return
        series = _series_of(document)
        if not document["again"] and self._stragglers.hold(window_id, series, document["start"]):
            return
        with continued_trace(self._edges.tracer, "close overdue shots", document["traceparent"]):
            await self._change(series, document["start"], close_due)

    async def _send_held_back(self, window_id: str) -> None:
        document = await self._windows.load(window_id)
        if document is not None:
            await self._empty_outbox(window_id, document["outbox"])
            await self._windows.note_sent(window_id)

    def _split(self, message: FileValidated) -> tuple[dict[SlotKey, list[Records]], dict[str, int]]:
        parts: defaultdict[SlotKey, list[Records]] = defaultdict(list)
        off_grid = second_samples = 0
        for judged in message.devices:
            pieces = split(
                judged.device,
                judged.kind,
                _source(message.object, judged),
                self._facility.interval(judged.series.interval),
                judged.times,
                judged.verdict.astype(np.int32),
                tuple(judged.reasons),
                judged.of_state(self._facility.state.on),
            )
            off_grid += len(pieces.off_grid)
            second_samples += len(pieces.second_samples)
            for start, records in pieces.by_window.items():
                parts[judged.series, start].append(records)
        return parts, {"off_grid": off_grid, "second_samples": second_samples}

    async def _leave(self, message: FileValidated, parts: dict[SlotKey, list[Records]]) -> None:
        """Add an empty entry to `parts` for each window that holds an earlier version of the file only."""
        for document in await self._windows.of_file(message.object.key):
            slot = _series_of(document), document["start"]
            if slot not in parts:
                parts[slot] = [
                    nothing_of(judged.device, judged.kind, _source(message.object, judged))
                    for judged in message.devices
                    if judged.series == slot[0]
                ]

    async def _join_window(
        self, obj: ObjectRef, series: ShotSeries, start: int, records: Sequence[Records]
    ) -> int:
        """Add records to a window; return how many were left out because their devices are unexpected."""
        window = await self._change(series, start, self._admit_all(obj, records, series))
        return sum(len(each.row) for each in records if each.device not in window.devices)

    def _admit_all(self, obj: ObjectRef, records: Sequence[Records], series: ShotSeries) -> Change:
        roster = self._roster(series)
        devices = {record.device for record in records}

        def change(before: Window) -> tuple[Window, Batch | None]:
            after = retract(before, obj.key, devices, obj.arrived_at)
            for record in records:
                if takes(after, record.device, roster):
                    after = admit(after, record)
            return close(after, ripe(before, after, roster))

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
    ) -> tuple[Window, dict[str, bytes]]:
        """Apply a change by compare-and-set; repeat it while another replica changes the window meanwhile.

        Return the window, and the resulting message by its batch id (empty if there is none).
        """
        interval = self._facility.interval(series.interval)
        while True:
            document = await self._windows.load(window_id)
            before = from_document(document, interval) if document else _empty(series, interval, start)
            next_version = replace(before, version=before.version + 1)
            after, batch = change(next_version)
            if after is next_version:
                return before, {}
            called_for = {}
            if batch is not None:
                closed = await self._message(batch, series)
                called_for = {closed.batch_id: closed.model_dump_json().encode()}
            held_back = document["outbox"] if document else {}
            if await self._windows.save(self._stored(after, {**held_back, **called_for})):
                return after, called_for

    def _stored(self, window: Window, outbox: Mapping[str, bytes]) -> dict[str, object]:
        return {
            **to_document(window),
            "deadline": _deadline(window),
            "outbox": dict(outbox),
            "outbox_since": epoch_now() if outbox else NEVER,
            "traceparent": current_traceparent(),
        }

    async def _message(self, batch: Batch, series: ShotSeries) -> ShotsClosed:
        roster = self._roster(series)
        on_before = await self._on_before(batch.window.start, unheard_before(batch, roster))
        sources = [source for columns in batch.window.devices.values() for source in columns.sources]
        link_current_span(sorted({source.traceparent for source in sources if source.traceparent}))
        return to_message(batch, roster, on_before, max(source.arrived_at for source in sources))

    async def _on_before(self, start: int, devices: Sequence[str]) -> set[str]:
        """Return those of the devices whose last state before the start of the window is ON."""
        if not devices:
            return set()
        states = await self._edges.archive.states_before(devices, start)
        return {device for device, state in states.items() if state == self._facility.state.on}

    async def _empty_outbox(self, window_id: str, outbox: Mapping[str, bytes]) -> None:
        for batch_id, body in outbox.items():
            closed = ShotsClosed.model_validate_json(body)
            await self._edges.archive.batches.add(closed)
            await self._edges.bus.send("features", closed)
            faults.reach("aggregate.after_publish")
            await self._windows.strike_off(window_id, batch_id)
            metrics.shots_closed(closed)
            self._edges.log.info("shots closed", batch=batch_id, shots=len(closed.pulses))

    async def _remember_devices(self, message: FileValidated) -> None:
        latest = latest_record_ms(self._facility)
        for judged in message.devices:
            with_state = np.flatnonzero(judged.state != NO_STATE)
            if len(with_state):
                last = with_state[-1]
                seen = LastState(int(judged.times[last]), judged.states[judged.state[last]])
                await self._edges.archive.devices.saw(judged.device, seen, latest)

    def _roster(self, series: ShotSeries) -> dict[str, DeviceKind]:
        roster = self._facility.roster(series)
        if roster is None:
            return {}
        devices = (self._facility.device(group) for group in roster.devices)
        return {device.group: device.kind for device in devices if device is not None}


def _deadline(window: Window) -> int:
    if window.again:
        return epoch_now()
    return epoch_now() + round(window.interval.lateness_s * 1000) if window.open.any() else NEVER


def _source(obj: ObjectRef, judged: JudgedRecords) -> Source:
    block = judged.block
    return Source(block.bucket, block.key, obj.object_id, obj.key, obj.arrived_at, current_traceparent())


def _empty(series: ShotSeries, interval: Interval, start: int) -> Window:
    return Window.empty(series.place, interval, start)


def _series_of(document: Mapping[str, str]) -> ShotSeries:
    return ShotSeries(place=Place.parse(document["place"]), interval=document["interval"])
