"""The energy of a shot by the report's rule."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotwatch_physics.energy import measure_energies


def measure(energy1: float, energy2: float) -> tuple[float, float]:
    features = measure_energies(np.array([energy1]), np.array([energy2]))
    return features["energy"].item(), features["energy_disagreement"].item()


def test_two_positive_energies_count_by_their_mean() -> None:
    energy, disagreement = measure(2.0, 3.0)
    assert energy == 2.5
    assert disagreement == pytest.approx(0.4)


@pytest.mark.parametrize("nothing", [0.0, -0.3, np.nan, np.inf, -np.inf])
def test_the_positive_energy_counts_when_the_other_is_not(nothing: float) -> None:
    for energy, disagreement in (measure(4.0, nothing), measure(nothing, 4.0)):
        assert energy == 4.0
        assert np.isnan(disagreement)


@pytest.mark.parametrize("nothing", [0.0, -0.3, np.nan, np.inf])
def test_without_a_positive_energy_there_is_none(nothing: float) -> None:
    assert np.isnan(measure(nothing, 0.0)).all()


def test_shots_are_measured_side_by_side() -> None:
    features = measure_energies(np.array([1.0, 0.0, 5.0]), np.array([1.0, 2.0, -1.0]))
    np.testing.assert_array_equal(features["energy"], [1.0, 2.0, 5.0])
    np.testing.assert_array_equal(features["energy_disagreement"], [0.0, np.nan, np.nan])


@given(st.floats(), st.floats())
def test_any_pair_gives_an_energy_between_the_two_or_none(energy1: float, energy2: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy, disagreement = measure(energy1, energy2)
    positive = [value for value in (energy1, energy2) if 0 < value < np.inf]
    if positive:
        assert energy == pytest.approx(sum(value / len(positive) for value in positive))
    assert np.isnan(energy) == (not positive)
    assert np.isnan(disagreement) or 0 <= disagreement <= 2
