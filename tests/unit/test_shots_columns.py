"""Columns of messages: arrays in the code and lists on the wire, with the same values."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shotwatch_shots.columns import Columnar, Integers, Numbers

INT64 = st.integers(-(2**63), 2**63 - 1)


class Samples(Columnar):
    """Two columns."""

    counts: Integers
    values: Numbers


@given(st.lists(INT64), st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_columns_are_lists_on_the_wire_and_come_back_as_arrays(
    counts: list[int], values: list[float]
) -> None:
    sent = Samples(counts=np.array(counts, np.int64), values=np.array(values))
    body = sent.model_dump_json()
    assert json.loads(body) == {"counts": counts, "values": values}
    arrived = Samples.model_validate_json(body)
    assert (arrived.counts.tolist(), arrived.values.tolist()) == (counts, values)
    assert (arrived.counts.dtype, arrived.values.dtype) == (np.int64, np.float64)
    assert arrived == sent


def test_numbers_that_are_not_finite_are_null_on_the_wire_and_nan_afterwards() -> None:
    body = Samples(counts=[], values=np.array([np.nan, np.inf, -np.inf, 1])).model_dump_json()
    assert json.loads(body)["values"] == [None, None, None, 1]
    np.testing.assert_array_equal(Samples.model_validate_json(body).values, [np.nan, np.nan, np.nan, 1])


@pytest.mark.parametrize("counts", [[2**63], [1.5], ["1.5"], [[1]], None, {"a": 1}])
def test_a_list_that_is_no_column_is_refused(counts: Any) -> None:
    with pytest.raises(ValidationError, match="counts"):
        Samples.model_validate_json(json.dumps({"counts": counts, "values": []}))


@pytest.mark.parametrize("counts", [np.array([1.5]), np.zeros((2, 2), int), np.array([2**63], np.uint64)])
def test_an_array_whose_values_would_change_is_no_column(counts: Any) -> None:
    with pytest.raises((ValidationError, OverflowError)):
        Samples(counts=counts, values=[])


def test_a_column_does_not_change_with_the_array_that_it_was_made_from() -> None:
    counts = np.array([1, 2])
    samples = Samples(counts=counts, values=[])
    counts[0] = 9
    assert samples.counts.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        samples.counts[0] = 9


def test_tables_differ_if_a_value_differs() -> None:
    assert Samples(counts=[1], values=[2]) != Samples(counts=[1], values=[3])
