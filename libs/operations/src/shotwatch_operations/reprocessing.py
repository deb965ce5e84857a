"""Reprocessing: compute the data of a time range again, beside live traffic.

The result is the same objects and shots at a later revision. From a stage that reads files, raw files are put
back into the inbox, one minute of shots at a time. From a stage that works on shots, their windows are closed
again as they are. Either way, every shot is closed once more, measured and judged with the current code and
models. Then everything that only the earlier revision had is removed. If reprocessing stops in the middle of
a minute, the same request does that minute again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from time import monotonic

from shotwatch_common.archive import Archive
from shotwatch_common.archive.windows import KnownWindow
from shotwatch_common.settings import Settings
from shotwatch_common.store import ObjectStore
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.facility import Facility
from shotwatch_shots.identity import block_folder, object_id, raw_key, residual_folder, unversioned_raw_key
from shotwatch_shots.ledger import Entry, ObjectEntry
from shotwatch_shots.pulses import instant
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.shot import ShotFilter
from shotwatch_shots.vocabulary import ObjectState

FROM_FILES = ("ingest", "validate")
"""Nothing between the file and its verdicts is stored, so both stages read the file again."""
FROM_SHOTS = ("aggregate", "features", "inference")
"""A revision of a shot has its own measurements, so all three stages close, measure and judge it again."""
_HOUR_OF_WINDOW = -len("MMSS/")
_POLL_S = 0.5
TIMEOUT_S = 1800.0
"""Longer than the ten minutes of attempts at a message, because live files may be queued before it."""


class ReprocessingStopped(Exception):
    """A recomputation did not finish; the message describes what, and why."""


@dataclass(frozen=True, slots=True)
class ReprocessingRequest:
    """A request to compute something again."""

    stage: str
    start: int
    """Epoch ms of the first pulse."""
    end: int
    """Epoch ms after the last pulse."""
    files_per_minute: float

    @property
    def span(self) -> tuple[str, int, int]:
        return self.stage, self.start, self.end

    @property
    def description(self) -> str:
        return f"from {self.stage}, {instant(self.start).isoformat()} to {instant(self.end).isoformat()}"


@dataclass(frozen=True, slots=True)
class Minute:
    """The windows that start at the same time."""

    start: int
    windows: Sequence[KnownWindow]

    @property
    def files(self) -> list[str]:
        return sorted({key for window in self.windows for key in window.files})


@dataclass(slots=True)
class Pace:
    """Limits the rate of files per minute."""

    files_per_minute: float
    _next: float = field(default_factory=monotonic)

    async def take(self, files: int) -> None:
        """Wait until this number of files may pass."""
        now = monotonic()
        await asyncio.sleep(max(0.0, self._next - now))
        self._next = max(self._next, now) + 60 * files / self.files_per_minute


class Reprocessing:
    """Reprocesses minute by minute; a minute starts once the previous one is judged and cleaned up."""

    def __init__(
        self,
        archive: Archive,
        store: ObjectStore,
        facility: Facility,
        settings: Settings,
        order: ReprocessingRequest,
    ) -> None:
        self._archive = archive
        self._store = store
        self._facility = facility
        self._settings = settings
        self._order = order
        self._pace = Pace(order.files_per_minute)
        self._why = f"computed again from {order.stage}"

    async def minutes(self) -> AsyncIterator[Minute]:
        """Yield the minutes that are left to do."""
        reached = await self._archive.reprocessings.reached(*self._order.span)
        for begin in range(reached, self._order.end, HOUR_MS):
            windows = await self._archive.windows.between(begin, min(begin + HOUR_MS, self._order.end))
            for start, group in groupby(windows, key=lambda window: window.start):
                yield Minute(start, list(group))

    async def run(self, done: Callable[[Minute], None]) -> None:
        """Do everything that is left; call `done` with each finished minute.

        Raises:
            ReprocessingStopped: a stage dead-lettered a message, or did not finish within TIMEOUT_S. What
                was done before stays done.
            Retry: the store cannot be reached.
        """
        await self._archive.audit.note("reprocess", self._order.description)
        before: set[str] = set()
        async for minute in self.minutes():
            await self._compute(minute, before)
            before = set(minute.files)
            await self._archive.reprocessings.note_reached(*self._order.span, minute.start + 1)
            done(minute)
        await self._archive.reprocessings.finish(*self._order.span)

    async def _compute(self, minute: Minute, fed_before: set[str]) -> None:
        if self._order.stage in FROM_FILES:
            await self._read_again([key for key in minute.files if key not in fed_before])
        for window in minute.windows:
            if self._order.stage in FROM_SHOTS:
                await self._pace.take(len(window.files))
            await self._close_again(window)
        if self._order.stage in FROM_SHOTS:
            await self._archive.ledger.record_step(minute.files, "reprocess", self._why)

    # files

    async def _read_again(self, keys: Sequence[str]) -> None:
        """Put raw files into the inbox, wait until they are joined, then remove their old blocks."""
        objects = [o for o in await self._archive.ledger.newest(keys) if await self._is_kept(o)]
        blocks = {each.ref.object_id: await self._stored(self._block_prefix(each.ref)) for each in objects}
        fed = [await self._feed(each) for each in objects]
        unjoined = (
            f"some of these {len(fed)} files are not joined: {', '.join(each.ref.key for each in objects)}"
        )
        await self._until(lambda: self._are_joined(fed), unjoined)
        for each in objects:
            await self._remove_unchanged(self._block_prefix(each.ref), blocks[each.ref.object_id])

    async def _is_kept(self, each: ObjectEntry) -> bool:
        """Return whether the raw file still exists: in the data bucket, or after a stop in the inbox."""
        if each.state not in (ObjectState.INGESTED, ObjectState.WAITING):
            return False
        if await self._store.etag(self._settings.inbox_bucket, each.ref.key) is not None:
            return True
        return await self._raw_key(each) is not None

    async def _feed(self, each: ObjectEntry) -> str:
        """Put a raw file into the inbox; return the object's id there, since a copy may have another etag."""
        inbox, identity, key = self._settings.inbox_bucket, each.ref.object_id, each.ref.key
        await self._pace.take(1)
        await self._archive.ledger.start_again(identity, "reprocess", self._why)
        if await self._store.etag(inbox, key) is None and (raw := await self._raw_key(each)) is not None:
            await self._store.move((self._settings.data_bucket, raw), (inbox, key))
        etag = await self._store.etag(inbox, key)
        there = identity if etag is None else object_id(inbox, key, etag)  # None: ingest has already read it
        if there != identity:
            entry = Entry(ObjectState.IGNORED, "reprocess", f"{self._why}, as object {there}")
            await self._archive.ledger.settle_at(identity, entry, location=None)
        return there

    async def _are_joined(self, identities: Sequence[str]) -> bool:
        objects = [await self._archive.ledger.find(identity) for identity in identities]
        for each in objects:
            if each is not None and each.state is ObjectState.DEAD_LETTERED:
                raise ReprocessingStopped(f"{each.ref.key} was given up: {each.detail}")
        return all(each is not None and each.has_ended for each in objects)

    async def _raw_key(self, each: ObjectEntry) -> str | None:
        """Return the key of the raw file in the data bucket; None if it is not there.

        The ledger has the key, unless reprocessing stopped after the file was entered as waiting and before
        it was moved.
        """
        ref, bucket = each.ref, self._settings.data_bucket
        name = self._facility.file_name(ref.key)
        if each.location is not None and each.location[0] == bucket:
            keys = [each.location[1]]
        elif name is not None:
            keys = [raw_key(name.starts_at, ref.key, ref.etag), unversioned_raw_key(name.starts_at, ref.key)]
        else:
            keys = []
        for key in keys:
            if await self._store.etag(bucket, key) is not None:
                return key
        return None

    def _block_prefix(self, ref: ObjectRef) -> str:
        name = self._facility.file_name(ref.key)
        return block_folder(name.starts_at, ref.object_id) if name else ref.object_id

    # shots

    async def _close_again(self, window: KnownWindow) -> None:
        """Close the window's shots again, wait for their verdicts, and remove what is superseded."""
        await self._until(lambda: self._archive.windows.ask_again(window.id), f"{window.id} stays open")
        await self._until(lambda: self._is_judged(window.id), f"the shots of {window.id} are not judged")
        *earlier, newest = [batch for batch, _ in await self._archive.batches.of_window(window.id)]
        superseded = [batch.batch_id for batch in earlier if set(batch.shot_ids) <= set(newest.shot_ids)]
        await self._archive.measurements.forget(superseded)
        await self._archive.batches.forget(superseded)
        await self._remove_residuals(newest)

    async def _is_judged(self, window_id: str) -> bool:
        undecided = await self._archive.batches.undecided(window_id)
        for batch_id, why in undecided.items():
            if why:
                raise ReprocessingStopped(f"the shots of {batch_id} were given up: {why}")
        return not undecided and await self._archive.windows.at_rest(window_id)

    async def _until(self, holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Wait until a check succeeds.

        Raises:
            ReprocessingStopped: it still fails after TIMEOUT_S; the message contains the text `otherwise`.
        """
        patient_until = monotonic() + TIMEOUT_S
        while not await holds():
            if monotonic() > patient_until:
                raise ReprocessingStopped(f"{otherwise} after {TIMEOUT_S:.0f} s")
            await asyncio.sleep(_POLL_S)

    # blocks and residuals

    async def _stored(self, prefix: str) -> dict[str, int]:
        """Return the keys under a prefix of the block bucket, and when each was written (epoch ms)."""
        found = self._store.list(self._settings.block_bucket, prefix)
        return {each.key: each.modified_ms async for each in found}

    async def _remove_unchanged(self, prefix: str, before: Mapping[str, int]) -> None:
        """Remove the blocks that have not been written again since."""
        for key, written in (await self._stored(prefix)).items():
            if before.get(key) == written:
                await self._store.remove(self._settings.block_bucket, key)

    async def _remove_residuals(self, batch: ShotBatch) -> None:
        """Remove the residuals of those shots of a batch that are no longer anomalous."""
        start, end = int(batch.pulses.min()), int(batch.pulses.max()) + 1
        shots = await self._archive.shots.page(ShotFilter(area=batch.series.place), start, end)
        normal = {shot.id for shot in shots if shot.batch == batch.batch_id and not shot.verdict.kinds}
        folders = {residual_folder(shot) for shot in normal}
        # A shot id begins like the id of its window. Without minutes and seconds, the window's id is the
        # prefix of all residuals of that hour.
        for key in await self._stored(residual_folder(batch.window_id)[:_HOUR_OF_WINDOW]):
            if f"{key.rpartition('/')[0]}/" in folders:
                await self._store.remove(self._settings.block_bucket, key)
