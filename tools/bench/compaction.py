"""What the day tables of an hour of the whole facility cost `history`, its database and its store.

    python -m tools.bench.compaction

The archive's own functions store MINUTES (60) of every place of the facility file at its interval, with all
devices and features, a tenth of the shots measured in detail. Then `history` polls until each place has its
table. Last, it polls 360 times, as in an hour, without anything to do. CPU times are those of this process
(`history`), the database and the store. In a run of the whole facility the hours of all places close at once.
"""

import asyncio
import os
import tempfile
from pathlib import Path

from shotwatch_common.archive import Archive
from shotwatch_common.store import ObjectStore
from shotwatch_common.tables.table_store import TableStore
from shotwatch_embedded.stack import Stack
from shotwatch_history.settings import HistorySettings
from shotwatch_tables.manifest import day_start
from tools.bench.tables import FACILITY, LASER, START, compaction, cost, given, judge

MINUTES = int(os.environ.get("MINUTES", "60"))
POLLS = 360
NOT_STARTED = {"SHOTWATCH_BROKER_URL": "amqp://nobody", "SHOTWATCH_MODELS_URL": "http://nobody"}


async def main() -> None:
    with tempfile.TemporaryDirectory(dir="build") as folder:
        claimed = Stack.claim(Path(folder), "bench", facility=FACILITY, settings=NOT_STARTED)
        async with claimed as stack:
            settings = HistorySettings.load(**given(stack.environment()))
            async with Archive.of(settings) as archive, ObjectStore.of(settings) as store:
                await archive.ensure_indexes()
                with cost(stack, f"store {MINUTES} minutes of {len(LASER.places)} places"):
                    for minute in range(MINUTES):
                        for place in LASER.places:
                            await judge(archive, minute, 1, place)
                await asyncio.sleep(11)  # an hour is written when nothing has changed for ten seconds
                await measure(stack, settings, archive, store)


async def measure(stack: Stack, settings: HistorySettings, archive: Archive, store: ObjectStore) -> None:
    job, tables = compaction(settings, archive, store), TableStore(store, settings.table_bucket)
    with cost(stack, "write all tables"):
        await job.poll()
        while await archive.tables.changed():
            await job.poll()
    with cost(stack, f"{POLLS} polls without changes"):
        for _ in range(POLLS):
            await job.poll()
    manifests = [await tables.manifest(each.place, day_start(START)) for each in LASER.places]
    files = [file for manifest in manifests for file in manifest.files]
    rows, size = sum(file.rows for file in files), sum(file.size for file in files)
    print(f"{len(files)} files, {rows:,} shots, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    asyncio.run(main())
