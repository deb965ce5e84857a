"""What a search by value costs on synthetic day tables, beside polars on the same files.

    DAYS=1 python -m tools.bench.search

The files are those of a camera place at 10 Hz, one for each hour, with all its columns. Each feature of two
cameras and the score have values, with a slow drift, so that some files have no match. Files are read in
parts, as `query` reads them, but from the disk instead of the store. CPU times are those of this process.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from shotwatch_common.facility_file import load_facility
from shotwatch_common.tables.aggregation import aggregated, with_values
from shotwatch_common.tables.parquet import write_table
from shotwatch_common.tables.parts import TablePart, row_groups
from shotwatch_common.tables.schema import ShotTableSchema
from shotwatch_common.tables.search import TableSearch, first_rows
from shotwatch_shots.expressions.aggregates import parse_aggregate
from shotwatch_shots.expressions.parser import parse_derivation, parse_filter
from shotwatch_shots.expressions.tree import ValueKind
from shotwatch_shots.place import Place

START = 1_656_633_600_000
HOUR_MS, PERIOD_MS = 3_600_000, 100
ROWS = HOUR_MS // PERIOD_MS
DAYS = int(os.environ.get("DAYS", "1"))
SCHEMA = ShotTableSchema.of(load_facility(Path("facilities/hpls.yaml")), Place.parse("LA-A1-11")).arrow
FILLED = ("LA_A1_11_Camera_1_Camera_1.", "LA_A1_11_Camera_2_Camera_2.")
X = "LA_A1_11_Camera_1_Camera_1.centroid_x"
KINDS = {X: ValueKind.NUMBER, "score": ValueKind.NUMBER}
RETURNED = pa.schema([("shot", pa.string()), ("time", SCHEMA.field("time").type), (X, pa.float32())])
SEARCH = TableSearch(START, START + DAYS * 24 * HOUR_MS, "100ms", PERIOD_MS)
RARE, COMMON = f"{X} > 104.2", f"{X} * 2 > 208"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"hour-{hour:04d}.parquet" for hour in range(24 * DAYS)]
        for hour, path in enumerate(paths):
            path.write_bytes(write_table(an_hour(hour)))
        size = sum(path.stat().st_size for path in paths)
        print(f"{len(paths)} files, {ROWS * len(paths):,} rows, {len(SCHEMA)} columns, {size / 1e6:.0f} MB")
        measure(paths)


def an_hour(hour: int) -> pa.Table:
    random = np.random.default_rng(hour)
    drift = np.sin(hour / 4)

    def column(field: pa.Field) -> pa.Array:
        if field.name == "time":
            times = START + HOUR_MS * hour + PERIOD_MS * np.arange(ROWS)
            return pa.array(times * 1_000_000, field.type)
        if field.name == "shot":
            return pa.array([f"LA-A1-11-100ms-{hour}-{n}" for n in range(ROWS)], field.type)
        if field.name == "interval":
            return pa.array(["100ms"] * ROWS).dictionary_encode()
        if pa.types.is_floating(field.type) and field.name.startswith((*FILLED, "score")):
            return pa.array(100 + drift + random.normal(size=ROWS), field.type)
        return pa.nulls(ROWS, field.type)

    return pa.table([column(field) for field in SCHEMA], schema=SCHEMA)


def measure(paths: list[Path]) -> None:
    for where in (RARE, COMMON):
        search = TableSearch(SEARCH.start_ms, SEARCH.end_ms, "100ms", PERIOD_MS, parse_filter(where, KINDS))
        timed(f"where {where}", lambda search=search: len(rows_of(search, paths)))
    smooth = parse_derivation(f"smooth = rolling_mean({X}, 20)", KINDS)
    kinds = {**KINDS, "smooth": ValueKind.NUMBER}
    windowed = TableSearch(
        SEARCH.start_ms, SEARCH.end_ms, "100ms", PERIOD_MS, parse_filter("smooth > 101.6", kinds), (smooth,)
    )
    timed("where rolling_mean(…, 20) > 101.6", lambda: len(rows_of(windowed, paths)))
    asked = [parse_aggregate(text, KINDS) for text in ("count", f"mean({X})", f"percentile({X}, 95)")]
    search = with_values(SEARCH, asked)
    timed("three aggregates by minute", lambda: len(aggregated(search, parts(search, paths), asked, 60_000)))
    scanned = pl.scan_parquet(paths).filter(pl.col(X) > 104.2).select("shot", "time", X)
    timed("polars: the first search", lambda: scanned.collect().height)


def rows_of(search: TableSearch, paths: list[Path]) -> pa.Table:
    return first_rows(search, parts(search, paths), RETURNED, 100_000, lambda: False).rows


def parts(search: TableSearch, paths: list[Path]) -> Iterator[TablePart]:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            assert isinstance(file, io.FileIO)
            yield from row_groups(pa.PythonFile(file, mode="r"), SCHEMA, search.pruning)


def timed(what: str, run: Callable[[], int]) -> None:
    run()
    began, wall = time.process_time(), time.monotonic()
    found = run()
    spent = time.process_time() - began
    print(
        f"{what}: {found:,} rows, {spent:.2f} s of CPU, {time.monotonic() - wall:.2f} s; {peak_mib():.0f} MiB"
    )


def peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    main()
