"""The means of reading files, and what is stated about them.

Small files pass the large ones, by readers and places of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shotwatch_common.clock import epoch_now
from shotwatch_common.notification import ArrivedObject
from shotwatch_ingest.readers.exchange import ReadFile
from shotwatch_ingest.readers.pool import ReaderPool
from shotwatch_ingest.settings import SECONDS_PER_FILE
from shotwatch_shots.facility import Facility
from shotwatch_shots.ledger import ReadFacts
from shotwatch_shots.records import DeviceRecords, ObjectRef

SMALL_BYTES = 1 << 20
"""Largest size of a small object: some fifty records of a camera, or a tenth of a second of work."""
READER_BYTES = 2 << 30
"""Maximum memory of a reader."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The means of reading small files, or large ones."""

    readers: ReaderPool
    places: asyncio.Semaphore
    """Places for the files in memory."""


@asynccontextmanager
async def reading(
    facility: Facility, readers: int, places: int, *, yielding: bool = False
) -> AsyncIterator[Reading]:
    """Run so many readers, for so many files in memory, which may yield the cores to other work.

    Raises:
        SettingsError: readers cannot be confined on this machine.
        Retry: no reader starts.
    """
    pool = ReaderPool(
        facility,
        processes=readers,
        seconds_per_file=SECONDS_PER_FILE,
        memory_bytes=READER_BYTES,
        yielding=yielding,
    )
    async with pool:
        yield Reading(pool, asyncio.Semaphore(places))


def is_small(found: ArrivedObject | ObjectRef) -> bool:
    """Return whether an object passes the large ones."""
    return found.size <= SMALL_BYTES


def facts_of(devices: Sequence[DeviceRecords], found: ReadFile, blocks: str) -> ReadFacts:
    """Return what the ledger states about a file that was read; `blocks`: the digest of its blocks."""
    return ReadFacts(
        devices=len(devices),
        records=sum(len(device.times) for device in devices),
        skipped=sum(found.skipped.values()),
        skipped_by_reason=found.skipped,
        skipped_examples=found.examples,
        blocks_id=blocks,
    )


def not_from_the_future(obj: ObjectRef) -> ObjectRef:
    """Return the object with an arrival no later than now, whatever its event states."""
    return obj.model_copy(update={"arrived_at": min(obj.arrived_at, epoch_now())})
