"""A search of shot tables finds what a search of all rows in memory finds, however the rows are divided."""

import io
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_common.tables.ahead import ahead
from shotwatch_common.tables.object_file import TAIL_BYTES, ObjectFile
from shotwatch_shots.expressions.aggregates import parse_aggregate
from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.parser import parse_derivation, parse_filter
from shotwatch_shots.expressions.tree import ValueKind
from shotwatch_tables.aggregation import PeriodTooLong, aggregated, with_values
from shotwatch_tables.parquet_piece import ParquetPiece
from shotwatch_tables.parts import MemoryPart, RowGroup, TableColumns, TablePart, row_groups
from shotwatch_tables.search import TableSearch, first_rows

PERIOD_MS = 100
START = 1_656_660_780_000
COLUMNS = {
    "a": ValueKind.NUMBER,
    "b": ValueKind.NUMBER,
    "time": ValueKind.TIME,
    "interval": ValueKind.TEXT,
    "severity": ValueKind.TEXT,
    "kinds": ValueKind.TEXTS,
}
SCHEMA = pa.schema(
    [
        ("shot", pa.string()),
        ("time", pa.timestamp("ns", "UTC")),
        ("interval", pa.dictionary(pa.int32(), pa.string())),
        ("a", pa.float32()),
        ("b", pa.float64()),
        ("severity", pa.dictionary(pa.int32(), pa.string())),
        ("kinds", pa.list_(pa.string())),
    ]
)
RETURNED = pa.schema([("shot", pa.string()), ("time", pa.timestamp("ns", "UTC")), ("severity", pa.string())])


def rows_of(count: int, seed: int = 1) -> pd.DataFrame:
    """Shots with gaps and missing values, and every tenth of another interval."""
    random = np.random.default_rng(seed)
    pulses = START + PERIOD_MS * np.sort(random.choice(count * 2, count, replace=False))
    a = random.integers(-5, 6, count).astype(np.float32)
    a[random.random(count) < 0.2] = np.nan
    return pd.DataFrame(
        {
            "shot": [f"shot-{n}" for n in range(count)],
            "time": pulses,
            "interval": np.where(random.random(count) < 0.1, "1s", "100ms"),
            "a": a,
            "b": random.normal(0, 3, count),
            "severity": random.choice(["info", "warning"], count),
            "kinds": [["hot_spot"] if n % 7 == 0 else [] for n in range(count)],
        }
    )


def table_of(rows: pd.DataFrame) -> pa.Table:
    columns = {name: list(rows[name]) for name in SCHEMA.names if name != "time"}
    columns["a"] = [None if math.isnan(value) else float(value) for value in rows["a"]]
    times = pa.array(rows["time"].to_numpy() * 1_000_000, SCHEMA.field("time").type)
    arrays = {name: pa.array(values, pa.string()) for name, values in columns.items() if name == "shot"}
    for name, values in columns.items():
        type_ = SCHEMA.field(name).type
        plain = pa.array(values, type_.value_type if pa.types.is_dictionary(type_) else type_)
        arrays[name] = plain.dictionary_encode() if pa.types.is_dictionary(type_) else plain
    return pa.table([times if name == "time" else arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def in_parts(table: pa.Table, bounds: Sequence[int]) -> Iterator[TablePart]:
    for first, last in pairwise((0, *sorted(bounds), len(table))):
        yield MemoryPart(table.slice(first, last - first))


def searching(where: str | None = None, derive: Sequence[str] = (), **span: int) -> TableSearch:
    kinds, derived = dict(COLUMNS), []
    for text in derive:
        derived.append(parse_derivation(text, kinds))
        kinds[derived[-1].name] = derived[-1].expression.kind
    return TableSearch(
        span.get("start", START),
        span.get("end", START + 10**9),
        "100ms",
        PERIOD_MS,
        None if where is None else parse_filter(where, kinds),
        tuple(derived),
    )


def never() -> bool:
    return False


def found(search: TableSearch, parts: Iterator[TablePart], limit: int = 10**6) -> list[str]:
    shots: list[str] = first_rows(search, parts, RETURNED, limit, never).rows["shot"].to_pylist()
    return shots


ROWS = rows_of(400)
TABLE = table_of(ROWS)
OURS = ROWS[ROWS["interval"] == "100ms"]


@given(st.lists(st.integers(0, 400), max_size=6))
def test_the_parts_do_not_change_what_is_found(bounds: list[int]) -> None:
    expected = OURS[(OURS["a"] > 1) & (OURS["b"] < 0)]["shot"].tolist()
    assert found(searching("a > 1 and b < 0"), in_parts(TABLE, bounds)) == expected
    assert expected


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(0, 300), st.integers(1, 12))
def test_windows_reach_into_earlier_parts_and_before_the_span(
    bounds: list[int], first: int, count: int
) -> None:
    at = dict(zip(OURS["time"], OURS["a"].astype(float), strict=True))

    def mean(time: int) -> float:
        values = [at.get(time - PERIOD_MS * back, math.nan) for back in range(count)]
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    start = int(OURS["time"].iloc[0]) + PERIOD_MS * first
    expected = [
        shot
        for shot, time in zip(OURS["shot"], OURS["time"], strict=True)
        if time >= start and mean(time) > 0.5
    ]
    search = searching("smooth > 0.5", [f"smooth = rolling_mean(a, {count})"], start=start)
    assert found(search, in_parts(TABLE, bounds)) == expected
    assert search.reach_ms == PERIOD_MS * (count - 1)


def test_derived_columns_may_read_each_other() -> None:
    search = searching("d", ["c = a + 1", "d = c > 4 or c is missing", "e = previous(b) - b"])
    columns = pa.schema([*RETURNED, ("c", pa.float64()), ("d", pa.bool_()), ("e", pa.float64())])
    rows = first_rows(search, in_parts(TABLE, [100]), columns, 1000, never).rows.to_pandas()
    expected = OURS[(OURS["a"] > 3) | OURS["a"].isna()]
    assert rows["shot"].tolist() == expected["shot"].tolist()
    assert rows["d"].all()
    np.testing.assert_array_equal(rows["c"], expected["a"] + 1)


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_pages_have_each_row_once(limit: int) -> None:
    shots: list[str] = []
    start: int | None = START
    while start is not None:
        search = searching("a > 0", start=start)
        page = first_rows(search, in_parts(TABLE, [50, 51, 300]), RETURNED, limit, never)
        assert len(page.rows) <= limit
        shots += page.rows["shot"].to_pylist()
        start = page.next_ms
    assert shots == OURS[OURS["a"] > 0]["shot"].tolist()


def test_a_page_that_takes_too_long_ends_after_a_part_and_goes_on_there() -> None:
    shots: list[str] = []
    start: int | None = START
    pages = 0
    while start is not None:
        page = first_rows(
            searching("a > 4", start=start), in_parts(TABLE, [50, 100, 150]), RETURNED, 100, lambda: True
        )
        shots += page.rows["shot"].to_pylist()
        start = page.next_ms
        pages += 1
    assert pages == 5, "one for each part, and the end"
    assert shots == OURS[OURS["a"] > 4]["shot"].tolist()


# Files.


class Counting(io.BytesIO):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def file_of(table: pa.Table, rows_per_group: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=rows_per_group)
    return sink.getvalue()


def groups_of(
    file: io.BytesIO, search: TableSearch, schema: pa.Schema = SCHEMA, rows: int = 400
) -> Iterator[TablePart]:
    whole = ParquetPiece(pa.PythonFile(file, mode="r"))
    columns = TableColumns(schema, rows, lambda _: whole)
    return row_groups(columns, search.pruning, search.inputs, search.needed)


@pytest.mark.parametrize(
    ("where", "groups"),
    [
        ("b > 9", 1),
        ("b > 9 and abs(a) > 100", 1),
        ("b > 9 or b < -100", 1),
        ("b between 9 and 10 and 'x' in kinds", 1),
        ("b > 100", 0),
        ("not b <= 9", 1),
        ("a is missing and b > 9", 1),
        ("b * 2 > 18", 10),
        (f"time < {pd.Timestamp(START + 2000, unit='ms', tz='UTC').isoformat()}", 1),
    ],
)
def test_row_groups_without_a_match_are_not_read(where: str, groups: int) -> None:
    rows = ROWS.sort_values("time").assign(b=np.arange(400) / 40)
    file = file_of(table_of(rows), 40)
    search = searching(where)
    assert len(list(groups_of(io.BytesIO(file), search))) == groups


def test_a_search_with_windows_skips_only_what_is_out_of_reach() -> None:
    file = file_of(TABLE, 40)
    middle = int(ROWS["time"].iloc[200])
    search = searching("previous(b, 5) > 100", start=middle)
    groups = groups_of(io.BytesIO(file), search)
    assert 5 <= len(list(groups)) <= 6


@given(
    st.integers(1, 400), st.sampled_from(["a > 2", "b > 5 and a is missing", "severity = 'info' and a = 1"])
)
def test_files_and_memory_have_the_same_rows(rows_per_group: int, where: str) -> None:
    file = io.BytesIO(file_of(TABLE, rows_per_group))
    search = searching(where)
    assert found(search, groups_of(file, search)) == found(search, in_parts(TABLE, []))


@given(
    st.sampled_from([1, 7, 40, 400]),
    st.integers(0, 400),
    st.integers(0, 400),
    st.sampled_from(["a > 1 and b < 0", "d > 1 and b < 0", "time > 2022-01-01 and a > 1 and b < 0"]),
)
def test_files_of_one_interval_have_the_rows_that_pandas_finds(
    rows_per_group: int, first: int, last: int, where: str
) -> None:
    """Their description states the interval, and whether all shots lie in the span."""
    start, end = sorted(START + 2 * PERIOD_MS * n for n in (first, last))
    rows = ROWS[ROWS["interval"] == "100ms"]
    table = table_of(rows)
    search = searching(where, ["c = a / 1", "d = c"], start=start, end=end)
    groups = groups_of(io.BytesIO(file_of(table, rows_per_group)), search, rows=len(rows))
    columns = pa.schema([*RETURNED, ("d", pa.float64())])
    page = first_rows(search, groups, columns, 1000, never)
    expected = rows[(rows["a"] > 1) & (rows["b"] < 0) & rows["time"].between(start, end, "left")]
    assert page.rows["shot"].to_pylist() == expected["shot"].tolist()
    assert page.rows["d"].to_pylist() == expected["a"].tolist()
    assert [time.value for time in page.rows["time"]] == (expected["time"] * 1_000_000).tolist()


class ReadColumns:
    """A part of a file that records which columns are read of it."""

    def __init__(self, part: TablePart, of_part: list[list[str]]) -> None:
        self._part = part
        self._of_part = of_part
        self.bounds = part.bounds

    def read(self, columns: Sequence[str]) -> pa.Table:
        self._of_part.append(list(columns))
        return self._part.read(columns)


@pytest.mark.parametrize(
    ("where", "derive", "start", "read"),
    [
        ("b * 1 > 100", "c = a", START, [["a", "b"]]),
        ("b * 1 > -100", "c = a", START, [["a", "b"], ["shot", "time", "severity"]]),
        ("b * 1 > 100", "c = a", START + 100 * PERIOD_MS, [["time", "interval", "a", "b"]]),
        ("b * 1 > 100", "c = rolling_mean(a, 1)", START, [["time", "interval", "a", "b"]]),
        ("b * 1 > 100", "c = time > 2022-01-01", START, [["time", "interval", "b"]]),
        ("interval = '100ms' and b * 1 > 100", "c = a", START, [["time", "interval", "a", "b"]]),
    ],
)
def test_times_are_read_if_they_decide_or_a_shot_matches(
    where: str, derive: str, start: int, read: list[list[str]]
) -> None:
    table, of_part = table_of(OURS), list[list[str]]()
    search = searching(where, [derive], start=start)
    groups = groups_of(io.BytesIO(file_of(table, 400)), search, rows=len(OURS))
    first_rows(search, (ReadColumns(part, of_part) for part in groups), RETURNED, 1000, never)
    assert of_part == read


def test_a_file_with_other_times_than_it_states_is_refused() -> None:
    """A page that ends with a time before its beginning would be requested for ever."""
    search = searching("b * 1 > -100")
    [group] = groups_of(io.BytesIO(file_of(table_of(OURS), 400)), search, rows=len(OURS))
    assert isinstance(group, RowGroup)
    assert group.bounds
    forged = replace(group, bounds=replace(group.bounds, first_ms=START - 7))
    with pytest.raises(ValueError, match="its times"):
        found(search, iter([forged]))


def test_other_columns_are_read_of_parts_with_a_match_only() -> None:
    wide = TABLE.append_column(
        "text", pa.array([f"{n:030d}" for n in np.random.default_rng(1).permutation(400)])
    )
    file = Counting(file_of(wide, 40))
    columns = pa.schema([*RETURNED, ("text", pa.string())])

    def bytes_read(where: str) -> int:
        file.count = 0
        search = searching(where)
        groups = groups_of(file, search, wide.schema)
        first_rows(search, groups, columns, 1000, never)
        return file.count

    assert bytes_read("b * 1 > 100") + 5000 < bytes_read("b * 1 > -100")


def test_a_file_with_larger_row_groups_is_refused() -> None:
    many = pa.table({"time": pa.array([0] * 70_000, SCHEMA.field("time").type)})
    file = io.BytesIO(file_of(many, 70_000))
    with pytest.raises(ValueError, match="65,536"):
        list(groups_of(file, searching(start=-1), rows=70_000))


@pytest.mark.parametrize(
    ("where", "all_match"),
    [
        ("time > 0001-01-02", True),
        ("time != 9999-12-31", True),
        ("time < 1600-01-01 or time > 2500-01-01", False),
    ],
)
def test_times_that_arrow_does_not_have_are_compared(where: str, all_match: bool) -> None:
    search = searching(where)
    file = io.BytesIO(file_of(TABLE, 40))
    expected = OURS["shot"].tolist() if all_match else []
    assert found(search, groups_of(file, search)) == expected


def test_a_file_with_another_number_of_rows_than_its_manifest_states_is_refused() -> None:
    """What a search costs is estimated by the manifest."""
    file = io.BytesIO(file_of(TABLE, 40))
    with pytest.raises(ValueError, match="400 rows, not 4"):
        list(groups_of(file, searching(), rows=4))


def test_a_file_with_an_enormous_description_is_refused() -> None:
    content = file_of(TABLE.replace_schema_metadata({"about": "x" * 9_000_000}), 400)
    with pytest.raises(ValueError, match="description"):
        list(groups_of(io.BytesIO(content), searching()))


LONG = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array(["x" * 400_000]))
MANY = pa.array([["x"] * 1000] * 400, pa.list_(pa.field("element", pa.string())))


@pytest.mark.parametrize(
    ("name", "column", "why"), [("text", LONG, "160,000,000"), ("kinds", MANY, "elements")]
)
def test_small_files_whose_columns_are_large_in_memory_are_refused(
    name: str, column: pa.Array, why: str
) -> None:
    """A text that repeats, and a list of equal texts, take a few bytes in a file."""
    content = file_of(TABLE.drop_columns("kinds").append_column(name, column), 400)
    assert len(content) < 100_000
    schema = pa.schema(
        [*TABLE.drop_columns("kinds").schema, (name, column.type if name == "kinds" else pa.string())]
    )
    [group] = groups_of(io.BytesIO(content), searching(), schema)
    with pytest.raises(ValueError, match=why):
        group.read(["time", name])


def test_a_column_that_a_file_lacks_is_missing() -> None:
    file = io.BytesIO(file_of(TABLE.drop_columns("a"), 40))
    search = searching("a is missing")
    assert len(found(search, groups_of(file, search))) == len(OURS)


def test_files_are_read_in_order_and_not_more_than_asked_for_ahead() -> None:
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        return number

    with ThreadPoolExecutor(1) as threads:
        results = ahead((partial(read, number) for number in range(20)), threads, 2)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        assert len(begun) <= 7
        results.close()
    assert len(begun) <= 7


def test_a_file_in_the_store_is_fetched_in_parts() -> None:
    content = np.random.default_rng(1).bytes(3 * TAIL_BYTES)
    asked: list[tuple[int, int]] = []

    def fetch(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return content[offset : offset + length]

    file = ObjectFile(fetch, len(content))
    parts = []
    for offset, whence, size in ((-8, io.SEEK_END, 8), (-500, io.SEEK_END, 400), (10, 0, 20), (0, 0, -1)):
        file.seek(offset, whence)
        parts.append(file.read(size))
    file.seek(0, io.SEEK_END)
    assert [*parts, file.read(5)] == [content[-8:], content[-500:-100], content[10:30], content, b""]
    assert asked == [(2 * TAIL_BYTES, TAIL_BYTES), (10, 20), (0, len(content))]


# Aggregates.

ASKED = (
    "count",
    "count(a)",
    "mean(a)",
    "std(b)",
    "min(a)",
    "max(a)",
    "median(b)",
    "percentile(b, 90)",
    "mean(a * b)",
    "mean(previous(b))",
)


@given(st.lists(st.integers(0, 400), max_size=4), st.sampled_from([1000, 7000, 10**7]))
def test_aggregates_equal_those_of_pandas(bounds: list[int], period_ms: int) -> None:
    aggregates = [parse_aggregate(text, COLUMNS) for text in ASKED]
    search = with_values(searching("b > -2"), aggregates)
    table = aggregated(search, in_parts(TABLE, bounds), aggregates, period_ms).to_pandas()
    rows = OURS.assign(product=OURS["a"].astype(float) * OURS["b"])
    at = dict(zip(OURS["time"], OURS["b"], strict=True))
    rows["before"] = [at.get(time - PERIOD_MS, math.nan) for time in rows["time"]]
    rows = rows[rows["b"] > -2].astype({"a": float})
    groups = rows.groupby(rows["time"] // period_ms * period_ms)
    expected = {
        "count": groups.size(),
        "count(a)": groups["a"].count(),
        "mean(a)": groups["a"].mean(),
        "std(b)": groups["b"].std(),
        "min(a)": groups["a"].min(),
        "max(a)": groups["a"].max(),
        "median(b)": groups["b"].median(),
        "percentile(b, 90)": groups["b"].quantile(0.9),
        "mean(a * b)": groups["product"].mean(),
        "mean(previous(b))": groups["before"].mean(),
    }
    assert [time.value // 10**6 for time in table["time"]] == list(groups.groups)
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


def test_no_shots_have_no_aggregates() -> None:
    aggregates = [parse_aggregate(text, COLUMNS) for text in ASKED]
    search = with_values(searching("b > 1000"), aggregates)
    table = aggregated(search, in_parts(TABLE, []), aggregates, 1000)
    assert table.column_names == ["time", *ASKED]
    assert len(table) == 0


def test_a_period_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotwatch_tables.aggregation.MOST_VALUES", 100)
    aggregates = [parse_aggregate("mean(a)", COLUMNS)]
    search = with_values(searching(), aggregates)
    with pytest.raises(PeriodTooLong):
        aggregated(search, in_parts(TABLE, [30, 60, 90]), aggregates, 10**12)
    assert len(aggregated(search, in_parts(TABLE, list(range(0, 400, 10))), aggregates, 1000)) > 10


@pytest.mark.parametrize(
    "text",
    ["", "avg(a)", "mean", "mean()", "mean(a", "mean(a) + 1", "percentile(a)", "percentile(a, 101)",
     "percentile(a, -1)", "mean(severity)", "mean(a > 1)", "count(*)", "mean(nothing)", "mean(mean(a))"],
)  # fmt: skip
def test_what_is_no_aggregate_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_aggregate(text, COLUMNS)


def test_an_error_inside_an_aggregate_marks_its_place() -> None:
    with pytest.raises(ExpressionError) as raised:
        parse_aggregate("percentile(a + nothing, 5)", COLUMNS)
    assert raised.value.excerpt[1] == " " * 15 + "^" * 7
