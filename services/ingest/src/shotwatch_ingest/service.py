"""ingest: reads snapshot files from the inbox into blocks.

Consumes object events (the store's notifications, and the sweep's), publishes `FileIngested`.

Delivery, for each object: enter it in the ledger; read the file; write its blocks under keys of this object
version; settle the ledger; publish; move the raw object out of the inbox. Run twice, everything is written
again as it was. Dying anywhere, the message comes again; an object that left the inbox was settled and
published before. It is settled before anybody else knows of it, so that nothing a later stage writes of it
(that it was parked) is overwritten.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from opentelemetry import trace

from shotwatch_common import faults, metrics
from shotwatch_common.archive.ledger import Entry
from shotwatch_common.bus import Subscription
from shotwatch_common.contracts import BlockRef, DeviceRecords, FileIngested, ObjectRef
from shotwatch_common.errors import Reject
from shotwatch_common.facility import FileName
from shotwatch_common.identity import block_folder, raw_key
from shotwatch_common.notification import parse_notification
from shotwatch_common.process import Edges, Service, every
from shotwatch_common.pulses import epoch_now
from shotwatch_common.store import ObjectGone, ObjectTooLarge
from shotwatch_common.vocabulary import FileReason, ObjectState
from shotwatch_ingest.reader import ReaderPool
from shotwatch_ingest.reader_messages import ReadFile
from shotwatch_ingest.reader_workspace import Workspace
from shotwatch_ingest.settings import IngestSettings
from shotwatch_ingest.sweep import Sweep

MAX_FILE_BYTES = 256 << 20
"""What is larger is rejected unread."""


async def assemble(edges: Edges[IngestSettings], resources: AsyncExitStack) -> Service:
    settings = edges.settings
    readers = await resources.enter_async_context(
        ReaderPool(
            edges.facility,
            processes=settings.readers,
            seconds_per_file=settings.reader_seconds,
            memory_bytes=settings.reader_megabytes << 20,
        )
    )
    sweep = Sweep(edges)

    async def look_again_and_again() -> None:
        await every(settings.sweep_seconds, sweep.look, edges.log)

    background = (look_again_and_again,) if settings.sweep_seconds else ()
    subscription = Subscription("ingest", None, Ingestor(edges, readers).handle, settings.prefetch)
    return Service((subscription,), background)


class Ingestor:
    """Objects in the inbox become blocks, messages and a state in the ledger."""

    def __init__(self, edges: Edges[IngestSettings], readers: ReaderPool) -> None:
        self._edges = edges
        self._readers = readers

    async def handle(self, body: bytes) -> None:
        """Ingest every object that an object event names."""
        for arrived in parse_notification(body):
            if arrived.bucket == self._edges.settings.inbox_bucket:
                await self._ingest(arrived.ref)

    async def _ingest(self, obj: ObjectRef) -> None:
        trace.get_current_span().set_attributes({"shotwatch.object": obj.key, "shotwatch.size": obj.size})
        await self._edges.archive.ledger.enter(obj, "ingest")
        name = self._edges.facility.file_name(obj.key)
        try:
            if name is None:
                await self._set_aside(obj)
            else:
                await self._read(obj, name)
        except ObjectGone:
            await self._settle_gone(obj)
        except Reject as error:
            await self._reject(obj, error)

    async def _read(self, obj: ObjectRef, name: FileName) -> None:
        if obj.size == 0:
            raise Reject(FileReason.EMPTY, f"{obj.key}: the file has no bytes")
        data = await self._fetch(obj)
        with await asyncio.to_thread(Workspace, data) as workspace:
            with self._edges.tracer.start_as_current_span("read snapshot"):
                found = await self._readers.read(workspace, name, obj.key, self._latest_ms(obj))
            with self._edges.tracer.start_as_current_span("write blocks"):
                devices = await self._write_blocks(obj, name, found, workspace)
        faults.reach("ingest.after_blocks")
        facts = _facts(devices, found)
        await self._settle(obj, ObjectState.INGESTED, facts=facts)
        faults.reach("ingest.after_settle")
        await self._edges.bus.send("validate", FileIngested(object=obj, devices=devices))
        faults.reach("ingest.after_publish")
        metrics.BATCH_RECORDS.labels("ingest").observe(facts["records"])
        await self._leave_inbox(obj, (self._edges.settings.data_bucket, raw_key(name.starts_at, obj.key)))
        self._edges.log.info("ingested", object=obj.key, **facts)

    def _latest_ms(self, obj: ObjectRef) -> int:
        """The latest time of a record that the object's arrival allows; an arrival is never in the future."""
        return min(obj.arrived_at, epoch_now()) + round(1000 * self._edges.facility.clock_skew_s)

    async def _fetch(self, obj: ObjectRef) -> bytes:
        try:
            return await self._edges.store.get(obj.bucket, obj.key, MAX_FILE_BYTES)
        except ObjectTooLarge as error:
            raise Reject(FileReason.TOO_LARGE, str(error)) from error

    async def _write_blocks(
        self, obj: ObjectRef, name: FileName, found: ReadFile, workspace: Workspace
    ) -> list[DeviceRecords]:
        records = []
        for device in found.devices:
            key = f"{block_folder(name.starts_at, obj.object_id)}{device.device}.arrow"
            block = BlockRef(
                bucket=self._edges.settings.block_bucket,
                key=key,
                object_id=obj.object_id,
                object_key=obj.key,
            )
            data = await asyncio.to_thread(workspace.block, device.block_start, device.block_bytes)
            await self._edges.store.put(block.bucket, block.key, data)
            metrics.block_written(len(data))
            records.append(device.records(block))
        return records

    async def _set_aside(self, obj: ObjectRef) -> None:
        """No snapshot by its name: not ours to judge."""
        await self._settle(obj, ObjectState.IGNORED, "not a file name of the facility")
        await self._leave_inbox(obj, (self._edges.settings.data_bucket, f"ignored/{obj.key}"))

    async def _reject(self, obj: ObjectRef, error: Reject) -> None:
        """Into the error bucket, with the reason in the key and beside it."""
        self._edges.log.warning("rejected", object=obj.key, reason=error.reason, detail=error.detail)
        target = f"{error.reason}/{obj.key}"
        note = {**obj.model_dump(), "reason": error.reason, "detail": error.detail}
        bucket = self._edges.settings.error_bucket
        await self._edges.store.put(
            bucket, f"{target}.reason.json", json.dumps(note).encode(), "application/json"
        )
        await self._settle(obj, ObjectState.REJECTED, error.detail, error.reason)
        await self._leave_inbox(obj, (bucket, target))

    async def _settle_gone(self, obj: ObjectRef) -> None:
        """It left the inbox: settled by an earlier attempt, or taken away by somebody before it was read."""
        entry = await self._edges.archive.ledger.find(obj.object_id)
        if entry is None or entry["state"] == ObjectState.WAITING:
            await self._settle(obj, ObjectState.IGNORED, "gone from the inbox before it was read")

    async def _settle(
        self,
        obj: ObjectRef,
        state: ObjectState,
        why: str = "",
        reason: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        trace.get_current_span().set_attribute("shotwatch.state", state)
        entry = Entry(state, "ingest", why)
        if await self._edges.archive.ledger.settle(obj.object_id, entry, reason, facts):
            metrics.file_settled(obj, state, reason)

    async def _leave_inbox(self, obj: ObjectRef, target: tuple[str, str]) -> None:
        """Move the object away, unless another version has come under its key meanwhile."""
        if await self._edges.store.etag(obj.bucket, obj.key) == obj.etag:
            await self._edges.store.move((obj.bucket, obj.key), target)


def _facts(devices: Sequence[DeviceRecords], found: ReadFile) -> dict[str, Any]:
    """What the ledger keeps of a file; what was passed over in it is counted by reason, with examples."""
    passed_over = found.model_dump(mode="json", include={"skipped", "examples"})
    return {
        "devices": len(devices),
        "records": sum(len(device.times) for device in devices),
        "skipped": sum(found.skipped.values()),
        "skipped_by_reason": passed_over["skipped"],
        "skipped_examples": passed_over["examples"],
    }
