"""The file of an hour after a change: the changed shots once, at their new revision, the others as before."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shotwatch_common.facility_file import load_facility
from shotwatch_history.domain.tables import changed_hours, is_closed
from shotwatch_shots.batch import CompletedBatch
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import shot_id, window_id
from shotwatch_tables.making import make_table
from shotwatch_tables.manifest import DayManifest, TableFile, day_of, day_start, hour_start
from shotwatch_tables.parquet import read_table, upserted, write_table
from shotwatch_tables.schema import ShotTableSchema
from tests.unit.shots import judged_shot

FACILITY = load_facility(Path("facilities/hpls.yaml"))
SERIES = ShotSeries.parse("LA-A3-31-60s")
SCHEMA = ShotTableSchema.of(FACILITY, SERIES.place)
START = 1_656_676_800_000
"""2022-07-01 12:00 UTC."""
HOUR, DAY = 3_600_000, 86_400_000


def table(revisions: dict[int, int]) -> pa.Table:
    """A table of shots, with the minute and the revision of each."""
    shots = [
        replace(judged_shot(shot_id(SERIES, pulse), SERIES, pulse), revision=revision, trace_id=f"{revision}")
        for minute, revision in revisions.items()
        for pulse in (START + 60_000 * minute,)
    ]
    return make_table(SCHEMA, shots, {}, [])


MINUTES = st.sets(st.integers(0, 59), max_size=6)


@settings(max_examples=30)
@given(MINUTES, st.lists(MINUTES, max_size=3))
def test_changed_shots_replace_theirs_and_the_others_stay(before: set[int], changed: list[set[int]]) -> None:
    disjoint = [some.difference(*changed[:n]) for n, some in enumerate(changed)]
    merged = upserted(
        SCHEMA,
        table(dict.fromkeys(before, 1)) if before else None,
        [table(dict.fromkeys(minutes, 2)) for minutes in disjoint],
    )
    expected = dict.fromkeys(before, 1) | {minute: 2 for minutes in disjoint for minute in minutes}
    rows = [(row["time"].minute, row["revision"], row["trace_id"]) for row in merged.to_pylist()]
    assert rows == [(minute, expected[minute], str(expected[minute])) for minute in sorted(expected)]
    assert merged.schema.equals(SCHEMA.arrow, check_metadata=True)


def test_what_was_written_is_read_in_one_row_group_and_equal_tables_have_equal_files() -> None:
    hour = table(dict.fromkeys(range(60), 1))
    content = write_table(hour)
    assert read_table(content, "key").equals(hour, check_metadata=True)
    file = pq.ParquetFile(io.BytesIO(content))
    assert file.metadata.num_row_groups == 1
    assert {file.metadata.row_group(0).column(n).compression for n in range(3)} == {"ZSTD"}
    assert write_table(table(dict.fromkeys(reversed(range(60)), 1))) == content


def test_a_device_that_the_facility_file_no_longer_lists_keeps_its_columns() -> None:
    column = "LA_A3_31_Retired_1.energy"
    before = table({0: 1, 1: 1}).append_column(column, pa.array([1.5, 2.5], pa.float32()))
    merged = upserted(SCHEMA, before, [table({1: 2, 2: 1})])
    assert merged[column].to_pylist() == [1.5, None, None]
    assert merged["revision"].to_pylist() == [1, 2, 1]
    assert merged.column_names[: len(SCHEMA.columns)] == [each.name for each in SCHEMA.columns]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all"], ids=["empty", "short", "text"])
def test_a_file_that_is_none_is_named(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"hour-12\.parquet: not a shot table"):
        read_table(data, "hour-12.parquet")


def test_a_manifest_has_one_file_for_each_hour() -> None:
    def file(hour: int, key: str) -> TableFile:
        start = START + HOUR * hour
        return TableFile(key=key, start=start, rows=1, size=1, first=start, last=start + HOUR - 1)

    manifest = DayManifest(place=SERIES.place, day=day_start(START))
    manifest = manifest.with_file(file(1, "b")).with_file(file(0, "a")).with_file(file(1, "c"))
    assert [each.key for each in manifest.files] == ["a", "c"]
    assert DayManifest.parse(manifest.model_dump_json().encode(), "key") == manifest
    assert manifest.file(START + HOUR) == file(1, "c")
    assert manifest.file(START + 2 * HOUR) is None
    assert manifest.key == "place=LA-A3-31/day=2022-07-01/_manifest.json"
    assert day_of("day=2022-07-01") == day_start(START)
    with pytest.raises(ValueError, match="key: not a manifest"):
        DayManifest.parse(b'{"version": 1}', "key")


def test_a_change_concerns_each_hour_of_its_window() -> None:
    at_end = CompletedBatch("a", window_id(SERIES, START + HOUR - 30_000), 5)
    within = CompletedBatch("b", window_id(SERIES, START), 6)
    unknown = CompletedBatch("c", window_id(ShotSeries.parse("LX-A1-11-60s"), START), 7)
    assert changed_hours([at_end, within, unknown], FACILITY) == {
        (Place.parse("LA-A3-31"), START): [at_end, within],
        (Place.parse("LA-A3-31"), START + HOUR): [at_end],
    }
    assert hour_start(START + HOUR - 1) == START


def test_an_hour_is_closed_some_minutes_after_its_end() -> None:
    assert not is_closed(START, START + HOUR + 179_999)
    assert is_closed(START, START + HOUR + 180_000)
