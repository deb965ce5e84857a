"""Numbers are packed as they are, or not at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_shots.columns import checked_cast, pack, unpack_integers
from shotwatch_shots.records import MOST_DETAILED_REASONS, reason_code
from shotwatch_shots.vocabulary import RecordReason

RANGES = {"<i1": 2**7, "<i2": 2**15, "<i4": 2**31, "<i8": 2**63}


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.sampled_from(sorted(RANGES)))
def test_whole_numbers_come_back_or_are_refused(values: list[int], dtype: str) -> None:
    fits = all(-RANGES[dtype] <= value < RANGES[dtype] for value in values)
    if fits:
        assert unpack_integers(pack(np.array(values, np.int64), dtype), len(values)).tolist() == values
    else:
        with pytest.raises(OverflowError):
            pack(np.array(values, np.int64), dtype)


def test_a_float_may_lose_digits_but_not_become_infinite() -> None:
    assert checked_cast([0.1, np.nan, np.inf], "<f4").tolist() == pytest.approx(
        [0.1, np.nan, np.inf], nan_ok=True
    )
    with pytest.raises(OverflowError, match="1e\\+39"):
        checked_cast([1.0, 1e39], "<f4")


def test_no_float_becomes_a_whole_number_that_it_is_not() -> None:
    for value in (0.5, np.nan, 1e10):
        with pytest.raises(OverflowError):
            checked_cast([value], "<i4")


@pytest.mark.parametrize(("data", "count"), [(b"abc", 2), (b"abcdef", 2), (b"", 1)])
def test_bytes_that_are_no_such_column_are_refused(data: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="are not"):
        unpack_integers(data, count)


def test_reasons_are_few_however_many_a_file_holds() -> None:
    reasons: list[str] = []
    codes = [reason_code(reasons, f"{name}: {n}") for n in range(70_000) for name in list(RecordReason)[:2]]
    assert min(codes) == 1
    assert len(reasons) == MOST_DETAILED_REASONS + 2
    assert reason_code(reasons, reasons[7]) == 8


def test_a_long_detail_is_cut() -> None:
    reasons: list[str] = []
    assert reason_code(reasons, "no_energy: " + "x" * 10_000) == 1
    assert len(reasons[0]) == 300
