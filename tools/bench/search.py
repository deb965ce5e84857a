"""What a search by value costs on synthetic day tables, beside polars on the same files.

    DAYS=30 python -m tools.bench.search

The files are those of a camera place at 10 Hz, one for each hour, with all its columns. The features of one
camera and the score have values, with a slow drift, so that some files have no match. The files are made
once, under `build/bench-tables`, and lie in an embedded store as those of ten places: the same files, by
hard links. They are searched as `query` does, from the store, and by polars from the disk: a day and all
days, three times each; all ten places a day. The first of the three searches is one after a start of
`query`. CPU times are those of this process and of the store.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa

from shotwatch_common.archive import Archive
from shotwatch_common.facility_file import load_facility
from shotwatch_common.store import ObjectStore
from shotwatch_common.tables.table_store import TableStore
from shotwatch_embedded.stack import Stack
from shotwatch_history.settings import HistorySettings
from shotwatch_query.shot_tables import ShotTables
from shotwatch_shots.durations import DAY_MS, HOUR_MS
from shotwatch_shots.expressions.aggregates import parse_aggregate
from shotwatch_shots.expressions.parser import parse_derivation, parse_filter
from shotwatch_shots.expressions.tree import ValueKind
from shotwatch_shots.place import Place
from shotwatch_tables.aggregation import aggregated, with_values
from shotwatch_tables.manifest import DayManifest, TableFile, day_folder, day_start
from shotwatch_tables.pieces import write_pieces
from shotwatch_tables.ranges import column_ranges
from shotwatch_tables.schema import ShotTableSchema
from shotwatch_tables.search import TableSearch, first_rows
from tools.bench.tables import cpu_s, given, peak_mib

START = 1_656_633_600_000
PERIOD_MS = 100
ROWS = HOUR_MS // PERIOD_MS
DAYS = int(os.environ.get("DAYS", "1"))
PLACES = 10
FACILITY = Path("facilities/hpls.yaml")
LASER = load_facility(FACILITY)
PLACE = Place.parse("LA-A1-11")
SCHEMA = ShotTableSchema.of(LASER, PLACE).arrow
FILLED = ("LA_A1_11_Camera_1_Camera_1.", "score")
X = "LA_A1_11_Camera_1_Camera_1.centroid_x"
KINDS = {X: ValueKind.NUMBER, "score": ValueKind.NUMBER}
RETURNED = pa.schema([SCHEMA.field(name) for name in ("shot", "time", X)])
OF_ALL = pa.schema([SCHEMA.field(name) for name in ("shot", "time", "score")])
BENCH_PLACES = [each.place for each in LASER.places if each.interval == "100ms"][:PLACES]
TURNS = 3
RARE, COMMON = f"{X} > 104.2", f"{X} * 2 > 208.4"
SHARES = {"0.1 %": f"{X} > 103.64", "1 %": f"{X} > 102.79", "50 %": f"{X} > 100.01"}
"""Share of the rows over 30 days → which these are."""
OpenTables = Callable[[], AbstractAsyncContextManager[ShotTables]]
Search = Callable[[ShotTables], Awaitable[int]]
NOT_STARTED = {
    "SHOTWATCH_BROKER_URL": "amqp://nobody",
    "SHOTWATCH_DATABASE_URL": "mongodb://nobody",
    "SHOTWATCH_MODELS_URL": "http://nobody",
}


async def main() -> None:
    source = Path("build/bench-tables")
    made = made_files(source)
    size = sum(each.size for each in made)
    print(f"{PLACES} places of {len(made)} files, {ROWS * len(made) * PLACES:,} rows, {len(SCHEMA)} columns")
    print(f"{size / 1e6:,.0f} MB for each place")
    with tempfile.TemporaryDirectory(dir="build") as temporary:
        claimed = Stack.claim(Path(temporary), "bench", facility=FACILITY, settings=NOT_STARTED)
        async with claimed as stack:
            settings = HistorySettings.load(**given(stack.environment()))
            bucket = settings.table_bucket
            folder = stack.folder / "store" / "buckets" / bucket
            (pid,) = (each.pid or 0 for each in stack.status() if each.name == "store")
            async with ObjectStore.of(settings) as store:
                await publish(TableStore(store, bucket), made, source, folder)
                open_tables = partial(ShotTables.of, cast(Archive, None), store, bucket, LASER)
                await measure(open_tables, pid, [source / each.key for each in made])


def made_files(folder: Path) -> list[TableFile]:
    """Return the files, one for each hour; make those that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return [made_file(folder, hour) for hour in range(START, START + DAYS * DAY_MS, HOUR_MS)]


def made_file(folder: Path, hour: int) -> TableFile:
    described = folder / f"{hour}.json"
    if not described.exists():
        table = an_hour(hour)
        written = write_pieces(table)
        (folder / f"{hour}.parquet").write_bytes(written.content)
        file = TableFile(
            key=f"{hour}.parquet",
            start=hour,
            rows=ROWS,
            size=written.content.size,
            first=hour,
            last=hour + HOUR_MS - PERIOD_MS,
            pieces_at=written.pieces_at,
            pieces_size=written.pieces_size,
            ranges=column_ranges(table),
        )
        described.write_text(file.model_dump_json())
    return TableFile.model_validate_json(described.read_bytes())


def an_hour(hour: int) -> pa.Table:
    random = np.random.default_rng(hour // HOUR_MS)
    drift = np.sin((hour - START) / HOUR_MS / 4)

    def column(field: pa.Field) -> pa.Array:
        if field.name == "time":
            return pa.array((hour + PERIOD_MS * np.arange(ROWS)) * 1_000_000, field.type)
        if field.name == "shot":
            return pa.array([f"LA-A1-11-100ms-{hour + PERIOD_MS * n}" for n in range(ROWS)], field.type)
        if field.name == "interval":
            return pa.array(["100ms"] * ROWS).dictionary_encode()
        if pa.types.is_floating(field.type) and field.name.startswith(FILLED):
            return pa.array(100 + drift + random.normal(size=ROWS), field.type)
        return pa.nulls(ROWS, field.type)

    return pa.table([column(field) for field in SCHEMA], schema=SCHEMA)


async def publish(tables: TableStore, made: list[TableFile], source: Path, bucket: Path) -> None:
    """Make the files the tables of ten places, by hard links in the folder of the store."""
    for place in BENCH_PLACES:
        manifests: dict[int, DayManifest] = {}
        for each in made:
            day = day_start(each.start)
            file = each.model_copy(update={"key": f"{day_folder(place, day)}{each.key}"})
            (bucket / file.key).parent.mkdir(parents=True, exist_ok=True)
            (bucket / file.key).hardlink_to(source / each.key)
            manifests[day] = manifests.get(day, DayManifest(place=place, day=day)).with_file(file)
        for manifest in manifests.values():
            await tables.put_manifest(manifest)


async def measure(open_tables: OpenTables, store: int, paths: list[Path]) -> None:
    for days in dict.fromkeys((1, DAYS)):
        print(f"{days} days, CPU s + of the store | wall s, {TURNS} times:")
        for name, run in searches(days).items():
            async with open_tables() as tables:
                await timed(name, store, partial(run, tables))
        if days == 1:
            search = replace(span_of(days), where=parse_filter("score > 104.2", KINDS))
            async with open_tables() as tables:
                run = partial(rows_of, search, BENCH_PLACES, OF_ALL)
                await timed(f"score > 104.2 in {PLACES} places", store, partial(run, tables))
        print(f"  peak memory {peak_mib():.0f} MiB")
    for days in dict.fromkeys((1, DAYS)):
        print(f"{days} days, polars from the disk, CPU s | wall s, {TURNS} times:")
        for name, filter_ in ((RARE, pl.col(X) > 104.2), (COMMON, pl.col(X) * 2 > 208.4)):
            scanned = pl.scan_parquet(paths[: 24 * days]).filter(filter_).select("shot", "time", X)
            await timed(name, store, partial(collected, scanned))
        print(f"  peak memory {peak_mib():.0f} MiB")


def searches(days: int) -> dict[str, Search]:
    """Return the searches of so many days, by what they ask. Each returns the number of its rows."""
    span = span_of(days)
    smooth = parse_derivation(f"smooth = rolling_mean({X}, 20)", KINDS)
    filters = {RARE: RARE, COMMON: COMMON, **SHARES, "none": f"{X} > 1000"}
    asked = {name: replace(span, where=parse_filter(where, KINDS)) for name, where in filters.items()}
    windowed = replace(span, where=parse_filter("smooth > 101.6", {**KINDS, "smooth": ValueKind.NUMBER}))
    asked["rolling_mean(…, 20) > 101.6"] = replace(windowed, derived=(smooth,))
    return {
        **{name: partial(rows_of, search, [PLACE], RETURNED) for name, search in asked.items()},
        "three aggregates by minute": partial(statistics_of, span),
        "three aggregates by minute of 50 %": partial(statistics_of, asked["50 %"]),
    }


def span_of(days: int) -> TableSearch:
    """Return the search for all shots of so many days, from the second minute on."""
    return TableSearch(START + 60_000, START + days * DAY_MS, "100ms", PERIOD_MS)


async def rows_of(
    search: TableSearch, places: Sequence[Place], returned: pa.Schema, tables: ShotTables
) -> int:
    found = 0
    for place in places:
        plan = await tables.plan(place, search)
        first = partial(first_rows, search, schema=returned, limit=100_000, is_over=lambda: False)
        found += len((await tables.run(plan, first)).rows)
    return found


async def statistics_of(span: TableSearch, tables: ShotTables) -> int:
    asked = [parse_aggregate(text, KINDS) for text in ("count", f"mean({X})", f"percentile({X}, 95)")]
    search = with_values(span, asked)
    plan = await tables.plan(PLACE, search)
    return len(await tables.run(plan, lambda parts: aggregated(search, parts, asked, 60_000)))


async def collected(scanned: pl.LazyFrame) -> int:
    return scanned.collect().height


async def timed(what: str, store: int, run: Callable[[], Awaitable[int]]) -> None:
    found, turns = 0, []
    for _ in range(TURNS):
        began, of_store, wall = time.process_time(), cpu_s(store), time.monotonic()
        found = await run()
        own, wall = time.process_time() - began, time.monotonic() - wall
        turns.append(f"{own:.2f} + {cpu_s(store) - of_store:.2f} | {wall:.2f}")
    print(f"  {what}: {found:,} rows, {'; '.join(turns)}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
