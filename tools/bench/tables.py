"""What it costs to write an hour of a camera place at 10 Hz as a day table, and what a search over it costs.

    python -m tools.bench.tables

On an embedded database and store. The hour has MINUTES windows of 600 shots; each of the 18 devices has all
its features, a tenth of the shots the detailed ones. CPU times are those of the processes: this one
(`history`), the database and the store. Then one minute is revised, and the hour is written again. The
largest queries are repeated, which gives the time for which each holds the database. Last, pyarrow, polars
and DuckDB search the file for values of one column.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import numpy as np
import polars as pl
import pyarrow.dataset as ds

from shotwatch_common.archive import Archive
from shotwatch_common.archive.measurements import Source
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_common.tables.table_store import TableStore
from shotwatch_embedded.stack import Stack
from shotwatch_history.jobs.tables import TableCompaction, TableLease
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.batch import Member, ShotBatch
from shotwatch_shots.device_kinds import DEVICE_KINDS, DeviceKind
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.features.spec import DETAILED_SHOTS, SCORED_SHOTS
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.pulses import window_id
from shotwatch_shots.records import BlockRef
from shotwatch_shots.shot import ShotFilter, ShotVerdict
from shotwatch_tables.manifest import day_start

FACILITY = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
SERIES = ShotSeries.parse("LA-A1-11-100ms")
START = 1_656_658_800_000
MINUTES = int(os.environ.get("MINUTES", "60"))
LASER = load_facility(FACILITY)
(DEVICES,) = (each for each in LASER.places if each.series == SERIES)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        claimed = Stack.claim(
            Path(folder), "bench", facility=FACILITY, settings={"SHOTWATCH_BROKER_URL": "amqp://nobody"}
        )
        async with claimed as stack:
            variables = stack.environment()
            settings = HistorySettings.load(**given(variables))
            async with Archive.of(settings) as archive, ObjectStore.of(settings) as store:
                await archive.ensure_indexes()
                for minute in range(MINUTES):
                    await judge(archive, minute, 1)
                await measure(stack, settings, archive, store)


def given(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix("SHOTWATCH_").lower(): value
        for name, value in variables.items()
        if name.removeprefix("SHOTWATCH_").lower() in HistorySettings.model_fields
    }


def compaction(settings: HistorySettings, archive: Archive, store: ObjectStore) -> TableCompaction:
    """Return the compaction of `history`; what it would log is printed, and errors are raised."""

    def show(event: str, **about: object) -> None:
        print(event, about)
        if error := about.get("exc_info"):
            raise RuntimeError(event) from cast(Exception, error)

    log = SimpleNamespace(info=show, error=show)
    context: Any = SimpleNamespace(
        settings=settings, archive=archive, store=store, facility=LASER, log=log, servers_answer=None
    )
    return TableCompaction(context, TableLease(context))


async def measure(stack: Stack, settings: HistorySettings, archive: Archive, store: ObjectStore) -> None:
    job = compaction(settings, archive, store)
    await asyncio.sleep(11)  # an hour is written when nothing has changed for ten seconds
    with cost(stack, f"the first time, {MINUTES} minutes"):
        await job.poll()
    await judge(archive, MINUTES // 2, 2)
    await asyncio.sleep(11)
    with cost(stack, "one minute revised"):
        await job.poll()
    (pid,) = (each.pid or 0 for each in stack.status() if each.name == "database")
    for name, ask in largest_queries(archive).items():
        before = cpu_s(pid)
        for _ in range(20):
            await ask()
        print(f"{name}: {50 * (cpu_s(pid) - before):.0f} ms of the database")
    manifest = await TableStore(store, settings.table_bucket).manifest(SERIES.place, day_start(START))
    (file,) = manifest.files
    print(f"{file.rows} rows, {file.size / 1e6:.1f} MB")
    search(stack.folder / "store" / "buckets" / settings.table_bucket / file.key)


async def judge(archive: Archive, minute: int, revision: int, expected: ExpectedDevices = DEVICES) -> None:
    """Store the shots of a minute of a series as the services do."""
    start, period_ms = START + 60_000 * minute, LASER.interval(expected.interval).period_ms
    shots = 60_000 // period_ms
    window, random = window_id(expected.series, start), np.random.default_rng(minute)
    members = [member(group, minute, shots) for group in expected.devices]
    batch = ShotBatch(
        batch_id=f"{window}-{revision}",
        window_id=window,
        series=expected.series,
        pulses=start + period_ms * np.arange(shots),
        revisions=[revision] * shots,
        complete=[True] * shots,
        members=members,
        last_arrival=start,
    )
    await archive.batches.add(batch)
    for source, kinds in (
        (Source.FEATURES, None),
        (Source.DETAIL, DETAILED_SHOTS),
        (Source.MODEL, SCORED_SHOTS),
    ):
        measured = {each.device: values(each.kind, kinds, shots, random) for each in members}
        await archive.measurements.keep(batch, source, {device: of for device, of in measured.items() if of})
    await archive.shots.write(batch, [ShotVerdict(1.0, 5.0)] * shots, None, "0" * 32)
    await archive.batches.detailed(batch.batch_id)
    await archive.batches.judged(batch.batch_id)


def member(group: str, minute: int, shots: int) -> Member:
    device = LASER.device(group)
    assert device is not None
    key = f"2022-07-01/{minute:024d}/{group}.arrow"
    block = BlockRef(bucket="blocks", key=key, object_id="0", object_key=f"LA_{minute}.h5")
    rows = list(range(shots))
    return Member(
        device=group, kind=device.kind, blocks=[block], source=[0] * shots, row=rows, reasons=[],
        verdict=[0] * shots, on=[True] * shots,
    )  # fmt: skip


def values(kind: DeviceKind, shots_of: str | None, shots: int, random: np.random.Generator) -> dict[str, Any]:
    """Return noise for the features that are measured on these shots; None stands for every shot."""
    columns = {
        spec.name: 100 + random.normal(size=shots)
        for spec in DEVICE_KINDS[kind].features
        if (spec.measured_on if spec.measured_on in (DETAILED_SHOTS, SCORED_SHOTS) else None) == shots_of
    }
    if shots_of == DETAILED_SHOTS:
        for column in columns.values():
            column[np.arange(shots) % 10 > 0] = np.nan
    return columns


@contextmanager
def cost(stack: Stack, what: str) -> Iterator[None]:
    pids = {each.name: each.pid or 0 for each in stack.status()}
    before, own, began = (
        {name: cpu_s(pid) for name, pid in pids.items()},
        time.process_time(),
        time.monotonic(),
    )
    yield
    spent = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    used = ", ".join(f"{name} {s:.1f}" for name, s in spent.items() if s > 0.05)
    mine, wall = time.process_time() - own, time.monotonic() - began
    print(f"{what}: CPU s: history {mine:.1f}, {used}; wall {wall:.1f} s")
    print(f"  peak memory of this process {peak_mib():.0f} MiB")


def largest_queries(archive: Archive) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the queries of a minute, each with what it asks."""
    batch, end = f"{window_id(SERIES, START)}-1", START + 40_000
    return {
        "400 shots": lambda: archive.shots.page(ShotFilter(area=SERIES.place), START, end),
        "the measurements of a batch": lambda: archive.measurements.of_batch(batch),
        "a batch": lambda: archive.batches.find(batch),
        "the batches of five minutes": lambda: archive.batches.completed(0, 2**53),
    }


def search(path: Path) -> None:
    x = "LA_A1_11_Camera_1_Camera_1.centroid_x"
    query = f'SELECT shot, "{x}" FROM "{path}" WHERE "{x}" > 103'
    searches = {
        "pyarrow": lambda: ds.dataset([str(path)]).to_table(["shot", x], filter=ds.field(x) > 103).num_rows,
        "polars": lambda: pl.scan_parquet(path).filter(pl.col(x) > 103).select("shot", x).collect().height,
        "DuckDB": lambda: len(duckdb.sql(query).fetchall()),
    }
    for name, run in searches.items():
        run()
        began = time.process_time()
        found = [run() for _ in range(10)]
        print(f"{name}: {100 * (time.process_time() - began):.1f} ms of CPU for {found[0]} of the rows")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib() -> float:
    line = next(
        each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM")
    )
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    asyncio.run(main())
