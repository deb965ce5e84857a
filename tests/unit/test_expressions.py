"""The language of searches: what it accepts, what an expression means, and how an error is shown."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shotwatch_shots.expressions.errors import ExpressionError
from shotwatch_shots.expressions.parser import parse_derivation, parse_filter
from shotwatch_shots.expressions.reader import DEEPEST, LONGEST, MOST_NODES
from shotwatch_shots.expressions.tokens import quoted_name
from shotwatch_shots.expressions.tree import ValueKind, pulses_before
from shotwatch_tables.evaluation import evaluate, is_pushed, pushed
from shotwatch_tables.windows import Pulses

COLUMNS = {
    "a": ValueKind.NUMBER,
    "b": ValueKind.NUMBER,
    "LA_A1_EM_1.energy": ValueKind.NUMBER,
    "time": ValueKind.TIME,
    "severity": ValueKind.TEXT,
    "kinds": ValueKind.TEXTS,
    "missing": ValueKind.TEXTS,
    "complete": ValueKind.TRUTH,
    "a name": ValueKind.NUMBER,
}
EPOCH = datetime(2022, 7, 1, tzinfo=UTC)
Row = Mapping[str, object]


def table_of(rows: list[Row]) -> pa.Table:
    types = {
        ValueKind.NUMBER: pa.float64(),
        ValueKind.TIME: pa.timestamp("ns", "UTC"),
        ValueKind.TEXT: pa.dictionary(pa.int32(), pa.string()),
        ValueKind.TEXTS: pa.list_(pa.string()),
        ValueKind.TRUTH: pa.bool_(),
    }
    arrays = {
        name: pa.array([row.get(name) for row in rows], types[kind].value_type).dictionary_encode()
        if kind is ValueKind.TEXT
        else pa.array([row.get(name) for row in rows], types[kind])
        for name, kind in COLUMNS.items()
    }
    return pa.table(arrays)


def pulses_of(count: int, period_ms: int = 100) -> Pulses:
    return Pulses(np.arange(count, dtype=np.int64) * period_ms, period_ms)


def truth(text: str, **row: object) -> object:
    """The value of an expression for one shot; None if it is missing."""
    return evaluate(parse_filter(text, COLUMNS), table_of([row]), pulses_of(1)).to_pylist()[0]


def numbers(text: str, values: list[float | None], times: list[int] | None = None) -> list[float | None]:
    """The values of a number for shots that have these values in column a."""
    table = table_of([{"a": value} for value in values])
    times = list(range(len(values))) if times is None else times
    pulses = Pulses(np.array(times, np.int64) * 100, 100)
    found: list[float | None] = evaluate(
        parse_derivation(f"x = {text}", COLUMNS).expression, table, pulses
    ).to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * 2 = 7", True),
        ("(a + b) * 2 = 10", True),
        ("a - 1 - 1 = 1", True),
        ("12 / a / 2 = 2", True),
        ("-a + 4 = 1", True),
        ("- -a = 3", True),
        ("not a = 4 and b = 2", True),
        ("not (a = 3 or b = 2)", False),
        ("a = 4 or a = 3 and b = 1", False),
        ("a between 3 and 4 and b = 2", True),
        ("a not between 3 and 4", False),
        ("a in (1, 2 + 1, 9)", True),
        ("a not in (1, 9)", True),
        ("a <> 3 or a != 3", False),
        ("a == 3", True),
        ("A_ = 3", None),
        ('"a name" = 8', True),
        ("severity = 'critical'", True),
        ("severity in ('warning', 'it''s')", False),
        ("'hot_spot' in kinds", True),
        ("'hot_spot' not in kinds", False),
        ("'camera' in missing", False),
        ("'camera' in missing or missing is missing", False),
        ("time >= 2022-07-01T02:00:00+02:00", True),
        ("time < 2022-07-01", False),
        ("time = 2022-07-01T00:00Z", True),
        ("complete", True),
        ("complete = false", False),
        ("abs(-a) = 3 and sqrt(a * a) = 3 and log10(100) = 2", True),
        ("1 < 2", True),
        ("a =\n\t3", True),
        ("NOT a = 3 OR TRUE", True),
    ],
)
def test_an_expression_has_its_meaning(text: str, expected: bool | None) -> None:
    row = {
        "a": 3.0,
        "b": 2.0,
        "a name": 8.0,
        "time": EPOCH,
        "severity": "critical",
        "kinds": ["pointing", "hot_spot"],
        "missing": [],
        "complete": True,
    }
    if expected is None:
        with pytest.raises(ExpressionError):
            truth(text, **row)
    else:
        assert truth(text, **row) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > 1", None),
        ("not a > 1", None),
        ("a > 1 or b = 2", True),
        ("a > 1 or b = 3", None),
        ("a > 1 and b = 3", False),
        ("a > 1 and b = 2", None),
        ("a is missing", True),
        ("a is not missing", False),
        ("a + b is missing", True),
        ("b / 0 is missing and log10(-b) is missing and sqrt(-1) is missing and log10(0) is missing", True),
        ("1e308 * 10 is missing", True),
        ("a in (1, 2)", None),
        ("a not in (1, 2)", None),
        ("a between 1 and 2", None),
        ("severity = 'critical'", None),
        ("'hot_spot' in kinds", None),
        ("complete", None),
        ("time > 2022-07-01", None),
    ],
)
def test_what_depends_on_a_missing_value_is_missing(text: str, expected: bool | None) -> None:
    assert truth(text, b=2.0) is expected


def test_a_number_that_is_not_finite_is_missing() -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert truth("a is missing", a=value) is True
        assert truth("not a > 1", a=value) is None


@pytest.mark.parametrize(
    ("text", "marked", "reason"),
    [
        ("score > 1", "score", "no such column"),
        ("a > 1 and LA_A1_EM_2.energy > 1", "LA_A1_EM_2.energy", "did you mean LA_A1_EM_1.energy?"),
        ("energy > 1", "energy", "did you mean LA_A1_EM_1.energy?"),
        ('"LA_A1-EM_1.energy" > 1', '"LA_A1-EM_1.energy"', "did you mean LA_A1_EM_1.energy?"),
        ("A > 1", "A", "did you mean a?"),
        ("a_name > 1", "a_name", 'did you mean "a name"?'),
        ("a > 'x'", "'x'", "what follows > is a number, and this is a text"),
        ("a > 2022-07-01", "2022-07-01", "this is a time"),
        ("time > 2022-07-01T07:33", "2022-07-01T07:33", "a time has a zone"),
        ("time > 2022-13-01", "2022-13-01", "no such time"),
        ("not a", "a", "what follows not is true or false, and this is a number"),
        ("a", "a", "a filter is true or false, and this is a number"),
        ("severity < 'x'", "<", "has no order"),
        ("kinds = 'x'", "=", "'text' in column"),
        ("a in kinds", "kinds", "only a 'text' is searched in a list"),
        ("'x' in severity", "severity", "a list of texts"),
        ("a = 1 = 1", "=", "do not follow each other"),
        ("a is 1", "1", "`missing` is expected"),
        ("a > 1 b", "b", "an operator or the end"),
        ("(a > 1", "", "`)` is expected"),
        ("a > ", "", "a value is expected"),
        ("", "", "a value is expected"),
        ("a > 1e999", "1e999", "too large"),
        ("a > 1.2.3", "1.2.3", "no number"),
        ("a > 0x10", "0x10", "no number"),
        ("a ? 1", "?", "no character"),
        ("severity = 'x", "'", "no closing '"),
        ('severity = "x', '"', 'no closing "'),
        ("eval(a) > 1", "eval", "there are abs, log10, sqrt"),
        ("rolling_mean(a, 0) > 1", "0", "not within 1 to 1000"),
        ("rolling_mean(a, 1001) > 1", "1001", "not within 1 to 1000"),
        ("rolling_mean(a, b) > 1", "b", "a whole number of pulses"),
        ("rolling_mean(a, 1.5) > 1", "1.5", "a whole number of pulses"),
        ("rolling_mean(a) > 1", ")", "`,` is expected"),
        ("abs(a, b) > 1", ",", "`)` is expected"),
        ("abs(complete) > 1", "complete", "is applied to is a number"),
        ("a not 3", "3", "comes `between` or `in`"),
    ],
)
def test_an_error_marks_its_place_and_names_the_reason(text: str, marked: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        parse_filter(text, COLUMNS)
    error = raised.value
    assert reason in str(error)
    line, carets = error.excerpt
    assert line == text
    start, length = carets.index("^"), carets.count("^")
    assert text[start : start + length] == marked
    assert start == text.rfind(marked) if marked else start == len(text)


def test_an_error_in_several_lines_shows_its_line() -> None:
    with pytest.raises(ExpressionError) as raised:
        parse_filter("a > 1\n and b < 'x'\n or a = 2", COLUMNS)
    assert str(raised.value).startswith("line 2, column 10: ")
    assert raised.value.excerpt == (" and b < 'x'", "         ^^^")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "1" * LONGEST,
        "(" * 2000 + "a" + ")" * 1000,
        "not " * 900 + "complete",
        "-" * 3000 + "a > 1",
        "abs(" * 900 + "a",
        "a = " + "+".join(["1"] * 1500),
        " or ".join(["a=1"] * 500),
        "a in (" + ",".join(["1"] * 1500) + ")",
        "+".join(["a"] * 140) + " in (" + ",".join(["1"] * 200) + ")",
        "'" * 3999,
        '"' * 3999,
        "a" * 3999,
        "a." * 1999,
        "\x00",
        "\ud800",
        "a > 1; drop",
        "__import__('os').system('true')",
        "a > {{1}}",
        "a > $where",
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_hostile_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_filter(text, COLUMNS)


def test_the_largest_expressions_are_evaluated() -> None:
    deep = "(" * (DEEPEST - 2) + "a > 1" + ")" * (DEEPEST - 2)
    assert truth(deep, a=2.0) is True
    wide = "a > " + "+".join(["0.01"] * (MOST_NODES // 2 - 1))
    assert truth(wide, a=2.0) is True
    assert pushed(parse_filter(wide, COLUMNS)) is not None


@given(st.text(max_size=200) | st.text("ab01.'\"()<>=-+*/, \n", max_size=60))
@example("2022-07-01T00:00:00.1234567890Z = time")
@example("9999-12-31T23:59:59-23:59 = time")
@example("0001-01-01T00:00:00+23:59 = time")
def test_any_text_is_an_expression_or_an_error_within_it(text: str) -> None:
    try:
        parse_filter(text, COLUMNS)
    except ExpressionError as error:
        line, carets = error.excerpt
        assert line in text
        assert len(carets) <= len(line) + 1


@given(st.text(min_size=1, max_size=30))
def test_a_quoted_name_is_that_column(name: str) -> None:
    expression = parse_filter(f"{quoted_name(name)} > 1", {name: ValueKind.NUMBER})
    assert evaluate(expression, pa.table({name: [2.0]}), pulses_of(1)).to_pylist() == [True]


def test_a_derived_column_has_a_name_of_its_own() -> None:
    assert parse_derivation("ratio = a / b", COLUMNS).name == "ratio"
    for text in (
        "a = b",
        "x",
        "x + 1",
        "= 1",
        "'x' = 1",
        '"x" = 1',
        f"{'x' * 61} = 1",
        "x = 'text'",
        "x = kinds",
    ):
        with pytest.raises(ExpressionError):
            parse_derivation(text, COLUMNS)


# Windows of pulses.


def test_a_window_counts_pulses_not_shots() -> None:
    values, times = [1.0, 2.0, 4.0, 8.0], [0, 1, 3, 4]
    assert numbers("previous(a)", values, times) == [None, 1.0, None, 4.0]
    assert numbers("previous(a, 3)", values, times) == [None, None, 1.0, 2.0]
    assert numbers("rolling_mean(a, 2)", values, times) == [1.0, 1.5, 4.0, 6.0]
    assert numbers("rolling_mean(a, 3)", values, times) == [1.0, 1.5, 3.0, 6.0]


def test_a_window_leaves_missing_values_out() -> None:
    assert numbers("rolling_mean(a, 2)", [None, None, 3.0, None]) == [None, None, 3.0, 3.0]
    assert numbers("rolling_std(a, 3)", [None, 1.0, None, 3.0]) == [None, None, None, math.sqrt(2)]
    assert numbers("rolling_mean(a, 2)", []) == numbers("rolling_std(a, 2)", []) == []


def test_windows_within_windows_reach_back_further() -> None:
    for text, reach in (
        ("rolling_mean(a, 5)", 4),
        ("previous(a)", 1),
        ("previous(rolling_mean(a, 5) - previous(b, 7), 2) + rolling_std(b, 3)", 9),
        ("a + b", 0),
    ):
        assert pulses_before(parse_derivation(f"x = {text}", COLUMNS).expression) == reach


KNOWN = st.none() | st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(st.integers(1, 4), KNOWN), max_size=30), st.integers(1, 8))
def test_rolling_functions_equal_those_of_a_loop_over_the_pulses(
    steps: list[tuple[int, float | None]], count: int
) -> None:
    values = [value for _, value in steps]
    times = list(np.cumsum([step for step, _ in steps], dtype=int))
    at = dict(zip(times, values, strict=True))
    means: list[float | None] = []
    deviations: list[float | None] = []
    for time in times:
        window = [v for back in range(count) if (v := at.get(time - back)) is not None]
        means.append(np.mean(window) if window else None)
        deviations.append(np.std(window, ddof=1) if len(window) > 1 else None)
    near = {"rel": 1e-9, "abs": 1e-6}
    assert numbers(f"rolling_mean(a, {count})", values, times) == pytest.approx(means, **near)
    assert numbers(f"rolling_std(a, {count})", values, times) == pytest.approx(deviations, **near)
    assert numbers(f"previous(a, {count})", values, times) == [at.get(time - count) for time in times]


# The whole language, compared with an evaluation of rows in Python.

Value = object
Generated = tuple[str, Callable[[Row], Value]]


def binary(
    symbol: str, apply: Callable[[float, float], float]
) -> Callable[[Generated, Generated], Generated]:
    def made(left: Generated, right: Generated) -> Generated:
        def value(row: Row) -> Value:
            a, b = left[1](row), right[1](row)
            if a is None or b is None:
                return None
            try:
                result = apply(a, b)  # type: ignore[arg-type]
            except (ZeroDivisionError, OverflowError):
                return None
            return result if isinstance(result, bool) or math.isfinite(result) else None

        return f"({left[0]} {symbol} {right[0]})", value

    return made


def logic(word: str) -> Callable[[Generated, Generated], Generated]:
    def made(left: Generated, right: Generated) -> Generated:
        def value(row: Row) -> Value:
            decided = word == "or"
            values = [left[1](row), right[1](row)]
            if decided in values:
                return decided
            return None if None in values else not decided

        return f"({left[0]} {word} {right[0]})", value

    return made


def negation(operand: Generated) -> Generated:
    def value(row: Row) -> Value:
        known = operand[1](row)
        return None if known is None else not known

    return f"(not {operand[0]})", value


def missing(operand: Generated) -> Generated:
    return f"({operand[0]} is missing)", lambda row: operand[1](row) is None


def between(value: Generated, low: Generated, high: Generated) -> Generated:
    above = binary(">=", lambda a, b: a >= b)(value, low)[1]
    below = binary("<=", lambda a, b: a <= b)(value, high)[1]
    both = logic("and")(("", above), ("", below))[1]
    return f"({value[0]} between {low[0]} and {high[0]})", both


SMALL = st.floats(-100, 100).map(lambda value: round(value, 2))
CONSTANTS = SMALL.map(lambda value: (f"({value!r})", lambda _row: value))
READ = st.sampled_from(["a", "b"]).map(lambda name: (name, lambda row: row[name]))
ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
COMPARED = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def one_of(
    functions: Mapping[str, Callable[[float, float], float]],
) -> st.SearchStrategy[Callable[[Generated, Generated], Generated]]:
    return st.sampled_from([binary(symbol, apply) for symbol, apply in functions.items()])


def applied(operator: Callable[..., Generated], *operands: Generated) -> Generated:
    return operator(*operands)


NUMBERS: st.SearchStrategy[Generated] = st.recursive(
    CONSTANTS | READ, lambda inner: st.builds(applied, one_of(ARITHMETIC), inner, inner), max_leaves=5
)
COMPARISONS = st.one_of(
    st.builds(applied, one_of(COMPARED), NUMBERS, NUMBERS),
    st.builds(between, NUMBERS, NUMBERS, NUMBERS),
    st.builds(missing, NUMBERS),
    st.just(("complete", lambda row: row["complete"])),
)
TRUTHS: st.SearchStrategy[Generated] = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds(applied, st.sampled_from([logic("and"), logic("or")]), inner, inner),
        st.builds(negation, inner),
    ),
    max_leaves=6,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"a": st.none() | SMALL, "b": st.none() | SMALL, "complete": st.none() | st.booleans()}
    ),
    min_size=1,
    max_size=8,
)


@given(TRUTHS, ROWS)
def test_arrow_finds_the_rows_that_python_finds(generated: Generated, rows: list[Row]) -> None:
    text, value = generated
    expression = parse_filter(text, COLUMNS)
    table = table_of(rows)
    expected = [value(row) for row in rows]
    assert evaluate(expression, table, pulses_of(len(rows))).to_pylist() == expected
    assert is_pushed(expression)
    found = [row for row, matches in zip(rows, expected, strict=True) if matches]
    kept = table.filter(pushed(expression)).select(["a", "b"]).to_pylist()
    assert kept == [{"a": row["a"], "b": row["b"]} for row in found]


def test_times_compare_across_zones() -> None:
    zone = timezone(timedelta(hours=2))
    for hours, later in pairwise((0, 1, 2)):
        time = (EPOCH + timedelta(hours=hours)).astimezone(zone)
        assert truth(f"time = {time.isoformat()}", time=EPOCH + timedelta(hours=hours)) is True
        assert truth(f"time = {time.isoformat()}", time=EPOCH + timedelta(hours=later)) is False
