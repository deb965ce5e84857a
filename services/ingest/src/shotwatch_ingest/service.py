"""ingest: read snapshot files from the inbox into blocks.

Consumes object events (notifications of the store, and those of the sweep), publishes `FileIngested`.

Small files pass the large ones: they come by the express queue, are read beside at most a few others, and by
a reader of their own. Notifications of the store come by that queue, too; those of large files are passed on
to ingest's own queue.

Delivery, for each object: enter it in the ledger; read the file; write its blocks under keys of this object
version; copy the raw file to its place; settle the ledger; publish; remove the object from the inbox.
Handling a message a second time writes everything again, unchanged. If the service dies at any step, the
message is delivered again; an object that left the inbox was settled and published before. The object is
settled before any later stage knows of it. What a later stage records about it (that it was dead-lettered) is
therefore never overwritten.

A file has one version for each time that it was stored. The version in the store at the time of reading
counts; an event about another version settles that one as replaced. If another version arrives while a file
is read, the bytes that were read are written to their place, so the ledger never names a place without them.
A dead-lettered object is ignored until somebody reinjects its message or stores it again.
"""

import asyncio
import json
from contextlib import AsyncExitStack

from opentelemetry import trace

from shotwatch_common import faults, metrics
from shotwatch_common.background import every
from shotwatch_common.bus import Subscription
from shotwatch_common.fetching import put_block
from shotwatch_common.notification import parse_notification
from shotwatch_common.process import PREFETCH_WAITING, Service, ServiceContext
from shotwatch_common.store import ObjectGone, ObjectTooLarge, ObjectVersion
from shotwatch_ingest.readers.exchange import (
    ReadFile,
    Workspace,
    written_columns,
)
from shotwatch_ingest.readers.pool import ReaderPool
from shotwatch_ingest.reading import Reading, facts_of, is_small, not_from_the_future, reading
from shotwatch_ingest.settings import FILES_IN_MEMORY, READERS_OF_SMALL, IngestSettings
from shotwatch_ingest.sweep import Sweep
from shotwatch_shots.errors import Reject
from shotwatch_shots.facility import FileName
from shotwatch_shots.identity import (
    block_key,
    blocks_id,
    fitting_name,
    ignored_key,
    raw_key,
    reason_key,
    rejected_key,
)
from shotwatch_shots.ledger import Entry, ReadFacts
from shotwatch_shots.pulses import instant
from shotwatch_shots.records import BlockRef, DeviceRecords, FileIngested, ObjectRef
from shotwatch_shots.vocabulary import FileReason, ObjectState

MAX_FILE_BYTES = 256 << 20
"""Maximum size of a file; a larger one is rejected without reading it."""


async def assemble(context: ServiceContext[IngestSettings], resources: AsyncExitStack) -> Service:
    settings = context.settings
    of_large = reading(context.facility, settings.readers_of_large, FILES_IN_MEMORY, yielding=True)
    of_small = reading(context.facility, READERS_OF_SMALL, PREFETCH_WAITING)
    ingestor = Ingestor(
        context,
        await resources.enter_async_context(of_large),
        await resources.enter_async_context(of_small),
    )
    sweep = Sweep(context)

    async def keep_polling() -> None:
        await every(settings.inbox_sweep_seconds, sweep.poll, context.log)

    background = (keep_polling,) if settings.inbox_sweep_seconds else ()
    subscription = Subscription("ingest", None, ingestor.handle, PREFETCH_WAITING, ingestor.handle_small)
    return Service((subscription,), background)


class _Replaced(Exception):
    """The inbox holds another version of the object than the event is about."""


class Ingestor:
    """The ingestion of objects: from the inbox to blocks, messages and states in the ledger."""

    def __init__(self, context: ServiceContext[IngestSettings], of_large: Reading, of_small: Reading) -> None:
        self._context = context
        self._of_large, self._of_small = of_large, of_small

    async def handle(self, body: bytes) -> None:
        """Ingest every object that an object event names."""
        for arrived in parse_notification(body):
            if arrived.bucket == self._context.settings.inbox_bucket:
                await self._ingest(not_from_the_future(arrived.ref))

    async def handle_small(self, body: bytes) -> None:
        """Ingest every object that an object event names; pass the event on if one of them is large."""
        if all(is_small(arrived) for arrived in parse_notification(body)):
            await self.handle(body)
        else:
            await self._context.bus.send("ingest", body)

    async def _ingest(self, obj: ObjectRef) -> None:
        trace.get_current_span().set_attributes({"shotwatch.object": obj.key, "shotwatch.size": obj.size})
        is_new = await self._context.archive.ledger.enter(obj, "ingest")
        if not is_new and await self._is_dead_lettered(obj):
            self._context.log.warning("left alone: dead-lettered", object=obj.key)
            return
        name = self._context.facility.file_name(obj.key)
        try:
            if name is None:
                await self._set_aside(obj)
            else:
                await self._read(obj, name)
        except ObjectGone:
            await self._settle_unread(obj, "gone from the inbox before it was read")
        except _Replaced:
            await self._settle_unread(obj, "replaced by another version before it was read")

    async def _is_dead_lettered(self, obj: ObjectRef) -> bool:
        """Return whether a person has to decide about the object; one stored again since then starts anew."""
        ledger = self._context.archive.ledger
        known = (await ledger.seen([obj.object_id])).get(obj.object_id)
        if known is None or known.state is not ObjectState.DEAD_LETTERED:
            return False
        if obj.arrived_at <= known.since:
            return True
        await ledger.start_again(obj.object_id, "ingest", "stored again")
        await ledger.see([obj.object_id])
        return False

    async def _read(self, obj: ObjectRef, name: FileName) -> None:
        means = self._of_small if is_small(obj) else self._of_large
        async with means.places:
            with Workspace() as workspace:
                try:
                    obj, devices, facts = await self._read_into_blocks(obj, name, means.readers, workspace)
                except Reject as error:
                    await self._reject(obj, error, workspace)
                    return
                target = self._context.settings.data_bucket, raw_key(name.starts_at, obj.key, obj.etag)
                await self._keep(obj, target, workspace)
        await self._settle(obj, ObjectState.INGESTED, target, facts=facts)
        faults.reach("ingest.after_settle")
        await self._context.bus.send("validate", FileIngested(object=obj, devices=devices))
        faults.reach("ingest.after_publish")
        metrics.BATCH_RECORDS.labels("ingest").observe(facts.records)
        await self._leave_inbox(obj)
        self._context.log.info("ingested", object=obj.key, **facts.model_dump(mode="json"))

    async def _read_into_blocks(
        self, obj: ObjectRef, name: FileName, readers: ReaderPool, workspace: Workspace
    ) -> tuple[ObjectRef, list[DeviceRecords], ReadFacts]:
        """Return the object as the store holds it, its records by device, and facts for the ledger."""
        fetching, ledger = self._fetch(obj, workspace), self._context.archive.ledger
        fetched, arrivals = await asyncio.gather(fetching, ledger.last_arrivals(obj.key))
        stored_at = max(obj.arrived_at, fetched.modified_ms)
        stored = not_from_the_future(obj.model_copy(update={"arrived_at": stored_at}))
        obj = await ledger.place_last(stored, arrivals)
        if not workspace.size:
            raise Reject(FileReason.EMPTY, f"{obj.key}: the file has no bytes")
        with self._context.tracer.start_as_current_span("read snapshot"):
            found = await readers.read(workspace, name, obj.key, self._latest_ms(obj))
        with self._context.tracer.start_as_current_span("write blocks"):
            devices, written = await self._write_blocks(obj, name, found, workspace)
        faults.reach("ingest.after_blocks")
        return obj, devices, facts_of(devices, found, blocks_id(written))

    async def _keep(self, obj: ObjectRef, place: tuple[str, str], workspace: Workspace | None) -> None:
        """Copy the object to its place. If the inbox no longer holds it, write what was read of it there.

        Raises:
            ObjectGone: the inbox holds it no longer, and it was not read whole.
            _Replaced: likewise, and the inbox holds another version.
        """
        while not await self._context.store.copy_version((obj.bucket, obj.key), place, obj.etag):
            if workspace is not None and workspace.size == obj.size:
                await self._context.store.put(*place, await asyncio.to_thread(workspace.content))
                return
            await self._require_there(obj)

    def _latest_ms(self, obj: ObjectRef) -> int:
        """Return the latest time of a record (epoch ms) that the object's arrival allows."""
        return obj.arrived_at + round(1000 * self._context.facility.clock_skew_s)

    async def _fetch(self, obj: ObjectRef, workspace: Workspace) -> ObjectVersion:
        """Write this version of the object into the workspace.

        Raises:
            Reject: TOO_LARGE.
            _Replaced: the store holds another version by now.
        """
        try:
            fetched = await self._context.store.fetch(obj.bucket, obj.key, workspace.take, MAX_FILE_BYTES)
        except ObjectTooLarge as error:
            await self._require_there(obj)
            raise Reject(FileReason.TOO_LARGE, str(error)) from error
        if fetched.etag != obj.etag:
            raise _Replaced
        return fetched

    async def _require_there(self, obj: ObjectRef) -> None:
        """Return if the inbox holds this version of the object.

        Raises:
            ObjectGone: it holds none.
            _Replaced: it holds another one.
        """
        etag = await self._context.store.etag(obj.bucket, obj.key)
        if etag is None:
            raise ObjectGone(f"{obj.bucket}/{obj.key} does not exist")
        if etag != obj.etag:
            raise _Replaced

    async def _write_blocks(
        self, obj: ObjectRef, name: FileName, found: ReadFile, workspace: Workspace
    ) -> tuple[list[DeviceRecords], dict[str, str]]:
        """Return the records of each device, and the etag of each block by its name in its folder."""
        records, etags = [], {}
        columns = written_columns(found.devices, self._context.facility)
        for device, of_block in zip(found.devices, columns, strict=True):
            arrays = await asyncio.to_thread(workspace.arrays, of_block)
            location = BlockRef(
                bucket=self._context.settings.block_bucket,
                key=block_key(name.starts_at, obj.object_id, device.device),
                object_id=obj.object_id,
                object_key=obj.key,
            )
            block, etag = await put_block(self._context.store, location, device.block(arrays))
            etags[fitting_name(device.device)] = etag
            records.append(device.records(block))
        return records, etags

    async def _set_aside(self, obj: ObjectRef) -> None:
        """Move an object out of the inbox whose name is not that of a snapshot, as ignored."""
        target = self._context.settings.data_bucket, ignored_key(instant(obj.arrived_at), obj.key, obj.etag)
        await self._keep(obj, target, None)
        await self._settle(obj, ObjectState.IGNORED, target, "not a file name of the facility")
        await self._leave_inbox(obj)

    async def _reject(self, obj: ObjectRef, error: Reject, workspace: Workspace) -> None:
        """Move the object to the error bucket, with the reason in its key and in a note beside it."""
        self._context.log.warning("rejected", object=obj.key, reason=error.reason, detail=error.detail)
        bucket = self._context.settings.error_bucket
        key = rejected_key(instant(obj.arrived_at), error.reason, obj.key, obj.etag)
        note = {**obj.model_dump(), "reason": error.reason, "detail": error.detail}
        await self._keep(obj, (bucket, key), workspace)
        await self._context.store.put(bucket, reason_key(key), json.dumps(note).encode(), "application/json")
        await self._settle(obj, ObjectState.REJECTED, (bucket, key), error.detail, error.reason)
        await self._leave_inbox(obj)

    async def _settle_unread(self, obj: ObjectRef, why: str) -> None:
        """Settle a version that can never be read, as it left the inbox, unless an attempt settled it."""
        entry = await self._context.archive.ledger.find(obj.object_id)
        if entry is None or entry.state is ObjectState.WAITING:
            await self._settle(obj, ObjectState.IGNORED, None, why)

    async def _settle(
        self,
        obj: ObjectRef,
        state: ObjectState,
        target: tuple[str, str] | None,
        why: str = "",
        reason: str = "",
        facts: ReadFacts | None = None,
    ) -> None:
        """Write the object's state and its future location; `target` is None if it no longer exists."""
        trace.get_current_span().set_attribute("shotwatch.state", state)
        entry = Entry(state, "ingest", why)
        if await self._context.archive.ledger.settle_at(obj.object_id, entry, target, reason, facts):
            metrics.file_settled(obj, state, reason)

    async def _leave_inbox(self, obj: ObjectRef) -> None:
        """Remove the object, unless another version has been stored under its key meanwhile."""
        await self._context.store.remove_version(obj.bucket, obj.key, obj.etag)
