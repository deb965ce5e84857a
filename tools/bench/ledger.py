"""How long the check of one hour of the facility takes: `python -m tools.bench.ledger`.

An embedded stack without services is filled with an artificial hour: 12,000 files with a block each, their
records, and 120 windows of 600 pulses with their shots and batches. Then every slice of it is checked once.
"""

import asyncio
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, process_time

import numpy as np
import pyarrow as pa
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console

from shotwatch_cli.balance import BrokerQueues
from shotwatch_cli.broker import connected
from shotwatch_cli.deployment import settings_of
from shotwatch_common.archive import Archive
from shotwatch_common.block import Block
from shotwatch_common.blocks import write_block
from shotwatch_common.clock import epoch_now
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import Topology
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.stack import Stack
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_operations.reconciliation.reconciler import Reconciler
from shotwatch_shots.batch import ShotBatch
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.identity import object_id, raw_key
from shotwatch_shots.ledger import Entry, JoinFacts, ReadFacts
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import instant
from shotwatch_shots.records import BlockRef, JudgedRecords, ObjectRef
from shotwatch_shots.shot import ShotVerdict
from shotwatch_shots.vocabulary import ObjectState

FACILITY = Path("facilities/hpls.yaml")
HOUR = 1_656_658_800_000
"""2022-07-01 07:00 UTC: the hour of the file names and of the arrival of the files."""
DONE = epoch_now() - HOUR_MS
"""Time at which everything had been joined and judged."""
RECORDERS, ROWS, PULSES = 200, 60, 600
WINDOWS_A_MINUTE = 2
DAY = instant(HOUR)
PLACE = ShotSeries.parse("LA-A1-11-100ms")
_AT_ONCE = 16

Document = dict[str, object]


def files() -> Iterator[tuple[int, str]]:
    """Yield minute and key of each file."""
    for minute in range(60):
        for recorder in range(RECORDERS):
            yield minute, f"LA_Recorder{recorder:03d}_1s_snapshot_2022-07-01_07-{minute:02d}-00.h5"


class Hour:
    """The artificial hour: what the services would have written."""

    def __init__(self, archive: Archive, store: ObjectStore, database: AsyncDatabase[Document]) -> None:
        self._archive = archive
        self._store = store
        self._database = database
        self._puts = asyncio.Semaphore(_AT_ONCE)

    async def fill(self) -> None:
        """Write objects, blocks and documents. Identical ones are copies of one that our own code wrote."""
        energies = {name: np.zeros(ROWS) for name in ("energy1", "energy2")}
        block = write_block(Block("meter", np.arange(ROWS), ["ON"] * ROWS, np.ones(ROWS, bool), energies))
        raw, keys = bytes(20_000), list(files())
        await self._put("data", "first.h5", raw)
        etag = await self._store.etag("data", "first.h5") or ""
        await self._store.remove("data", "first.h5")
        ids = {key: object_id("inbox", key, etag) for _, key in keys}
        await asyncio.gather(*(self._put("data", raw_key(DAY, key, etag), raw) for key in ids))
        folder = f"{DAY:%Y-%m-%d}"
        await asyncio.gather(
            *(self._put("blocks", f"{folder}/{id_}/meter.arrow", block) for id_ in ids.values())
        )
        await self._objects(keys, ids, etag, len(raw))
        await self._windows(keys, ids)

    async def _put(self, bucket: str, key: str, data: bytes | pa.Buffer) -> None:
        async with self._puts:
            await self._store.put(bucket, key, data)

    async def _objects(self, keys: list[tuple[int, str]], ids: dict[str, str], etag: str, size: int) -> None:
        first = ObjectRef(
            object_id="first", bucket="inbox", key="first", etag=etag, size=size, arrived_at=HOUR
        )
        await self._archive.ledger.enter(first, "bench")
        settled = Entry(ObjectState.INGESTED, "bench")
        facts = ReadFacts(devices=1, records=ROWS)
        await self._archive.ledger.settle_at("first", settled, ("inbox", "first"), facts=facts)
        await self._archive.ledger.note_joined("first", JoinFacts(off_grid=0, second_samples=0))
        ref = BlockRef(bucket="blocks", key="k", object_id="first", object_key="first")
        times = [HOUR + 1000 * n for n in range(ROWS)]
        judged = JudgedRecords(
            device="meter",
            kind=DeviceKind.ENERGY_METER,
            series=PLACE,
            block=ref,
            times=times,
            states=["ON"],
            state=[0] * ROWS,
            reasons=[],
            verdict=[0] * ROWS,
        )
        await self._archive.records.keep(first, judged)
        objects, records = await self._taken("objects"), await self._taken("records")
        await self._database["objects"].insert_many(
            {
                **objects,
                "_id": ids[key],
                "key": key,
                "arrived_at": HOUR + 60_000 * minute + n % RECORDERS,
                "since": DONE,
                "location": {"bucket": "data", "key": raw_key(DAY, key, etag)},
            }
            for n, (minute, key) in enumerate(keys)
        )
        await self._database["records"].insert_many(
            {**records, "_id": f"meter/{key}", "object_id": ids[key], "object_key": key} for _, key in keys
        )

    async def _taken(self, collection: str) -> Document:
        """Remove and return the only document of a collection."""
        document = await self._database[collection].find_one({})
        assert document is not None
        await self._database[collection].delete_one({"_id": document["_id"]})
        return document

    async def _windows(self, keys: list[tuple[int, str]], ids: dict[str, str]) -> None:
        """Write windows of 600 pulses. Each file is a device of one, with a record at every tenth pulse."""
        for minute in range(60):
            of_minute = [key for at, key in keys if at == minute]
            for n in range(WINDOWS_A_MINUTE):
                some = of_minute[n::WINDOWS_A_MINUTE]
                await self._window(
                    f"LA-A{n}-11-100ms-20220701T07{minute:02d}00", HOUR + 60_000 * minute, some, ids
                )

    async def _window(self, id_: str, start: int, keys: list[str], ids: dict[str, str]) -> None:
        source = np.full(PULSES, -1, "<i2")
        source[:: PULSES // ROWS] = 0
        device = {
            "kind": "EnergyMeter",
            "source": source.tobytes(),
            "row": np.zeros(PULSES, "<i4").tobytes(),
            "verdict": np.zeros(PULSES, "<i4").tobytes(),
            "on": np.zeros(PULSES, "<u1").tobytes(),
            "reasons": [],
        }
        await self._database["windows"].insert_one(
            {
                "_id": id_,
                "interval": "100ms",
                "start": start,
                "files": keys,
                "revision": np.ones(PULSES, "<i4").tobytes(),
                "outbox_since": 0,
                "deadline": 0,
                "devices": [
                    {**device, "device": f"meter {n}", "sources": [{"object_id": ids[key], "displaced": 0}]}
                    for n, key in enumerate(keys)
                ],
            }
        )
        pulses = [start + 100 * n for n in range(PULSES)]
        message = f'{{"pulses": {pulses}, "revisions": {[1] * PULSES}, "members": "{"x" * 200_000}"}}'
        await self._database["batches"].insert_one(
            {
                "_id": f"{id_}-1",
                "window": id_,
                "shots": PULSES,
                "closed_at": DONE,
                "judged_at": DONE,
                "dead_lettered": "",
                "arrived_at": HOUR,
                "message": message.encode(),
            }
        )
        batch = ShotBatch(
            batch_id=f"{id_}-1",
            window_id=id_,
            series=ShotSeries.parse(id_.rpartition("-")[0]),
            pulses=pulses,
            revisions=[1] * PULSES,
            complete=[True] * PULSES,
            members=[],
            last_arrival=0,
        )
        await self._archive.shots.write(batch, [ShotVerdict(None, None)] * PULSES, None, "0" * 32)


async def main() -> None:
    console = Console()
    ensure_rabbitmq(install=True)
    with tempfile.TemporaryDirectory(prefix="shotwatch-bench-") as root:
        async with Stack.claim(Path(root), "ledger", facility=FACILITY, settings={}) as stack:
            settings = settings_of(stack.environment())
            async with (
                ObjectStore.of(settings) as store,
                Archive.of(settings) as archive,
                AsyncMongoClient[Document](settings.database_url.get_secret_value()) as client,
                connected(settings.broker_url.get_secret_value()) as connection,
            ):
                await archive.ensure_indexes()
                began = monotonic()
                await Hour(archive, store, client[settings.database_name]).fill()
                console.print(f"filled in {monotonic() - began:.0f} s")
                facility, queues = load_facility(FACILITY), BrokerQueues(connection, Topology())
                collector = Collector(archive, store, facility, settings, queues, Allowances())
                reconciler = Reconciler(archive, collector)
                began = monotonic()
                await reconciler.note_changes()
                console.print(f"changes noted in {monotonic() - began:.1f} s")
                for slice_ in await archive.reconciliations.due(2**53):
                    before, began = process_time(), monotonic()
                    result = await reconciler.check(slice_)
                    console.print(
                        f"{slice_}: {monotonic() - began:.1f} s, {process_time() - before:.1f} s of our CPU, "
                        f"{result.outcome.total} imbalances, {dict(result.outcome.counts)}"
                    )
                    for each in result.outcome.imbalances[:3]:
                        console.print(f"  {each.subject}: {each.wrong}")
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                console.print(f"peak memory of this process: {peak:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main())
