"""A file that is left out by the ranges in its manifest has no match."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_shots.expressions.parser import parse_derivation, parse_filter
from shotwatch_shots.expressions.tree import ValueKind
from shotwatch_tables import ranges
from shotwatch_tables.ranges import ColumnRange, RangeReader, column_ranges
from shotwatch_tables.search import TableSearch

KINDS = {"x": ValueKind.NUMBER, "y": ValueKind.NUMBER, "n": ValueKind.NUMBER, "severity": ValueKind.TEXT}
SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", "UTC")),
        ("interval", pa.string()),
        ("x", pa.float32()),
        ("y", pa.float64()),
        ("n", pa.int32()),
        ("severity", pa.string()),
    ]
)
VALUES = st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=8)


def table_of(x: Sequence[int | None], y: Sequence[int | None], n: Sequence[int | None]) -> pa.Table:
    rows = min(len(x), len(y), len(n))
    values = {
        "x": x,
        "y": y,
        "n": n,
        "time": range(rows),
        "interval": ["1s"] * rows,
        "severity": ["a"] * rows,
    }
    arrays = [pa.array(list(values[field.name])[:rows], field.type) for field in SCHEMA]
    return pa.table(arrays, schema=SCHEMA)


def searching(where: str) -> TableSearch:
    double = parse_derivation("double = x * 2", KINDS)
    filter_ = parse_filter(where, {**KINDS, "double": ValueKind.NUMBER})
    return TableSearch(-10, 10, "1s", 1, filter_, (double,))


def may_match(where: str, text: str) -> bool:
    search = searching(where)
    return search.may_match(RangeReader(SCHEMA.names).read(text, search.inputs), SCHEMA)


def is_more(value: int | None, limit: int) -> bool:
    return value is not None and value > limit


@given(VALUES, VALUES, VALUES, st.integers(-4, 4))
def test_a_file_that_is_left_out_has_no_match(
    x: list[int | None], y: list[int | None], n: list[int | None], limit: int
) -> None:
    table = table_of(x, y, n)
    rows = list(zip(x, y, n, strict=False))
    has_match = {
        f"x > {limit}": any(is_more(a, limit) for a, _, _ in rows),
        f"x > {limit} and n > 0": any(is_more(a, limit) and is_more(c, 0) for a, _, c in rows),
        f"x > {limit} or y > {limit}": any(is_more(a, limit) or is_more(b, limit) for a, b, _ in rows),
        f"not x > {limit}": any(a is not None and a <= limit for a, _, _ in rows),
        f"x is missing and y > {limit}": any(a is None and is_more(b, limit) for a, b, _ in rows),
        f"double > {limit} and x > {limit}": any(
            is_more(a, limit) and 2 * a > limit for a, _, _ in rows if a
        ),
        f"severity = 'a' and n > {limit}": any(is_more(c, limit) for _, _, c in rows),
    }
    for where, expected in has_match.items():
        assert may_match(where, column_ranges(table)) or not expected, where


@pytest.mark.parametrize(
    ("where", "may"),
    [
        ("x > 2", True),
        ("x > 3", False),
        ("x > 3 and y > -100", False),
        ("x > 3 or y > 3", False),
        ("x > 3 or severity = 'a'", True),
        ("x > 2 and x > 3", False),
        ("not x <= 3", False),
        ("n > 0", False),
        ("n is missing", True),
        ("severity = 'b'", True),
        ("x + y > 100", True),
        ("rolling_mean(x, 3) > 100", True),
        ("double > 100", True),
    ],
)
def test_a_file_without_a_match_is_left_out_though_values_are_missing(where: str, may: bool) -> None:
    table = table_of([1, None, 3], [None, 2, 3], [None, None, None])
    assert may_match(where, column_ranges(table)) == may


def test_a_comparison_of_many_columns_with_missing_values_is_decided_without_all_their_cases() -> None:
    names = [f"c{n}" for n in range(40)]
    table = pa.table({name: pa.array([1.0, None]) for name in names})
    schema = pa.schema([*SCHEMA, *table.schema])
    columns = table_of([1, 2], [1, 2], [1, 2]).to_pydict() | table.to_pydict()
    whole = pa.table(columns, schema=schema)
    where = parse_filter(" or ".join(f"{name} > 0" for name in names), dict.fromkeys(names, ValueKind.NUMBER))
    search = TableSearch(-10, 10, "1s", 1, where)
    assert search.may_match(RangeReader(schema.names).read(column_ranges(whole), search.inputs), schema)


def test_ranges_are_those_of_the_values() -> None:
    table = table_of([1, None, 3], [-1, 2, 3], [None, None, None])
    assert RangeReader(table.column_names).read(column_ranges(table), SCHEMA.names) == {
        "x": ColumnRange(1, 3, has_missing=True),
        "y": ColumnRange(-1, 3, has_missing=True),
        "n": ColumnRange(None, None, has_missing=True),
    }


def test_ranges_of_a_table_with_other_columns_state_nothing() -> None:
    text = column_ranges(table_of([1], [1], [1]).drop_columns("y"))
    assert RangeReader(SCHEMA.names).read(text, ["x"]) == {}
    assert may_match("x > 100", text)
    assert may_match("x > 100", "")


def test_a_thousand_columns_have_a_short_text_and_more_than_fit_have_none() -> None:
    random = np.random.default_rng(1)

    def table(columns: int) -> pa.Table:
        return pa.table({f"c{n}": random.normal(size=3).astype(np.float32) for n in range(columns)})

    assert 1_000 < len(column_ranges(table(1000))) <= ranges.MAX_RANGES_CHARACTERS
    assert column_ranges(table(5000)) == ""


@given(
    st.one_of(st.text(max_size=40), st.binary(min_size=1, max_size=40).map(lambda some: f"AAAA{some.hex()}"))
)
def test_malformed_ranges_are_refused_or_state_nothing(text: str) -> None:
    with suppress(ValueError):
        assert RangeReader(SCHEMA.names).read(text, ["x"]) == {}


@pytest.mark.parametrize("size", [10, 97, 10_000_000])
def test_ranges_that_do_not_unpack_are_refused(size: int) -> None:
    """They have 96 bytes, two numbers for each of six columns."""
    digest = b64decode(column_ranges(table_of([1], [1], [1])))[:8]
    forged = b64encode(digest + pa.compress(b"\0" * size, codec="zstd", asbytes=True)).decode()
    with pytest.raises(ValueError, match="ranges"):
        RangeReader(SCHEMA.names).read(forged, ["x"])
