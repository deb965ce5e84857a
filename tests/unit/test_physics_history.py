"""A device against its past: ranks with known answers, change points and trends at known alarm rates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from ruptures import Pelt
from scipy.stats import percentileofscore, theilslopes

from shotwatch_physics.history import ChangePoint, against_own_past, change_points, trend

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

SERIES = 200
BINS = 300
MINUTE_MS = 60_000


def minutes(count: int) -> Times:
    return MINUTE_MS * np.arange(count)


def normal_series(count: int = SERIES, length: int = BINS, seed: int = 11) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, length))


def with_outliers(series: Floats) -> Floats:
    rng = np.random.default_rng(12)
    struck = rng.random(series.shape) < 0.05
    return np.where(struck, series + rng.choice([-20.0, 8.0, 20.0], series.shape), series)


def autoregressive(series: Floats, correlation: float) -> Floats:
    correlated = series.copy()
    for i in range(1, series.shape[1]):
        correlated[:, i] += correlation * correlated[:, i - 1]
    return correlated


def share_with_change(series: Floats) -> float:
    return float(np.mean([bool(change_points(minutes(len(values)), values)) for values in series]))


def share_with_trend(series: Floats) -> float:
    found = [trend(minutes(len(values)), values) for values in series]
    return float(np.mean([line is not None and line.significant for line in found]))


def step(first: int, last: int) -> Floats:
    place = np.arange(BINS)
    return ((place >= first) & (place < last)).astype(np.float64)


def test_a_value_is_ranked_among_its_past_without_assuming_a_distribution() -> None:
    past = np.array([*range(1, 100), np.nan, np.inf])
    reported = against_own_past(np.array([50.0, 99.0, 200.0, -5.0, np.nan]), past)
    np.testing.assert_allclose(reported.percentile[:4], [50, 100 - 50 / 99, 100, 0])
    np.testing.assert_allclose(reported.tail_probability[:4], [1.0, 0.04, 0.02, 0.02])
    assert np.isnan([reported.percentile[4], reported.tail_probability[4], reported.sigmas[4]]).all()


def test_percentiles_are_scipy_s() -> None:
    rng = np.random.default_rng(2)
    past, values = rng.integers(0, 9, 200).astype(float), np.arange(-1.0, 11)
    expected = [percentileofscore(past, value, kind="mean") for value in values]
    np.testing.assert_allclose(against_own_past(values, past).percentile, expected)


def test_robust_deviations_of_a_normal_past_are_standard_deviations_whatever_5_percent_of_it_were() -> None:
    past = np.random.default_rng(3).normal(10, 2, 20_000)
    past[:1000] = 1e6
    assert against_own_past(np.array([16.0]), past).sigmas == pytest.approx(3, abs=0.3)


def test_tail_probabilities_of_unremarkable_values_are_uniform_or_above() -> None:
    rng = np.random.default_rng(4)
    probability = against_own_past(rng.normal(size=4000), rng.normal(size=4000)).tail_probability
    for level in (0.01, 0.1, 0.5):
        assert np.mean(probability <= level) == pytest.approx(level, abs=0.03)


def test_without_a_past_nothing_is_unusual() -> None:
    reported = against_own_past(np.array([1.0]), np.array([np.nan]))
    assert reported.tail_probability == 1
    assert np.isnan([reported.percentile, reported.sigmas]).all()


def test_a_past_that_never_varied_gives_ranks_and_no_deviation() -> None:
    reported = against_own_past(np.array([2.0, 3.0]), np.full(99, 2.0))
    np.testing.assert_allclose(reported.tail_probability, [1, 0.02])
    assert np.isnan(reported.sigmas).all()


def test_a_step_is_found_where_and_as_large_as_it_is() -> None:
    values = 10 + 0.5 * normal_series(1)[0] + 2 * step(120, BINS)
    (change,) = change_points(minutes(BINS), values)
    assert change.time_ms == pytest.approx(120 * MINUTE_MS, abs=3 * MINUTE_MS)
    assert change.before == pytest.approx(10, abs=0.2)
    assert change.after == pytest.approx(12, abs=0.2)
    assert change.sigmas == pytest.approx(4, rel=0.15)
    assert change.confidence > 0.999


def test_change_points_are_those_of_ruptures_exact_search_in_python() -> None:
    values = normal_series(1, seed=5)[0] + 3 * step(80, 150) - 2 * step(220, BINS)
    found = [change.time_ms // MINUTE_MS for change in change_points(minutes(BINS), values)]
    variance = np.mean(np.diff(values) ** 2) / 2
    peer = Pelt(model="l2", min_size=10, jump=1).fit(values).predict(pen=16 * variance)[:-1]
    assert found == peer


def test_a_long_series_is_searched_in_bins_and_reported_in_its_own_times() -> None:
    count = 50_000
    values = np.random.default_rng(6).normal(5, 1, count) + 0.5 * (np.arange(count) >= 20_000)
    (change,) = change_points(100 * np.arange(count), values)
    assert change.time_ms == pytest.approx(2_000_000, abs=30_000)
    assert change.after - change.before == pytest.approx(0.5, abs=0.05)


def test_false_alarms_are_rare_with_and_without_outliers() -> None:
    assert share_with_change(normal_series()) <= 0.01
    assert share_with_change(with_outliers(normal_series())) <= 0.02
    assert share_with_trend(normal_series()) <= 0.01
    assert share_with_trend(with_outliers(normal_series())) <= 0.01


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_correlated_noise_is_hardly_ever_taken_for_a_change_or_a_trend(correlation: float) -> None:
    noise = autoregressive(normal_series(), correlation)
    assert share_with_change(noise) <= 0.06
    assert share_with_trend(noise) <= 0.03


@pytest.mark.parametrize(("first", "last"), [(120, 180), (0, 60), (240, 300)])
def test_a_step_of_one_sigma_over_60_bins_is_found_nine_times_in_ten(first: int, last: int) -> None:
    assert share_with_change(normal_series() + step(first, last)) >= 0.9
    assert share_with_change(with_outliers(normal_series() + step(first, last))) >= 0.85


def test_a_ramp_of_three_sigma_in_all_is_found_nine_times_in_ten() -> None:
    ramp = np.linspace(0, 3, BINS)
    assert share_with_trend(normal_series() + ramp) >= 0.9
    assert share_with_trend(with_outliers(normal_series() + ramp)) >= 0.9


def test_a_trend_is_scipy_s_theil_sen_slope_per_hour() -> None:
    values = normal_series(1)[0] + np.linspace(0, 3, BINS)
    line = trend(minutes(BINS), values)
    assert line is not None
    assert line.slope_per_hour == pytest.approx(theilslopes(values, np.arange(BINS) / 60).slope)
    assert line.total_change == pytest.approx(line.slope_per_hour * (BINS - 1) / 60)
    assert line.sigmas == pytest.approx(3, rel=0.2)


def test_missing_values_are_left_out() -> None:
    values = normal_series(1)[0] + 4 * step(100, BINS)
    missing = np.insert(values, [50, 200, 200], [np.nan, np.inf, -np.inf])
    times = np.insert(minutes(BINS), [50, 200, 200], [50 * MINUTE_MS, 200 * MINUTE_MS, 200 * MINUTE_MS])
    assert change_points(times, missing) == change_points(minutes(BINS), values) != []
    assert trend(times, missing) == trend(minutes(BINS), values)


def test_a_clean_step_on_a_constant_is_found() -> None:
    (change,) = change_points(minutes(BINS), step(100, BINS))
    assert (change.time_ms, change.before, change.after) == (100 * MINUTE_MS, 0, 1)


@pytest.mark.parametrize("count", [0, 1, 19])
def test_a_series_too_short_shows_nothing(count: int) -> None:
    assert change_points(minutes(count), np.arange(float(count))) == []
    assert trend(minutes(count), np.arange(float(count))) is None


def test_a_constant_series_neither_changes_nor_drifts() -> None:
    assert change_points(minutes(BINS), np.full(BINS, 7.0)) == []
    line = trend(minutes(BINS), np.full(BINS, 7.0))
    assert line is not None
    assert (line.slope_per_hour, line.sigmas, line.significant) == (0, 0, False)


def test_values_all_at_one_time_have_no_trend() -> None:
    assert trend(np.zeros(BINS, np.int64), normal_series(1)[0]) is None


anything = st.floats(-1e9, 1e9) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0])


@settings(max_examples=200)
@given(arrays(np.float64, st.integers(0, 60), elements=anything))
def test_any_series_has_defined_change_points_and_trend(values: Floats) -> None:
    changes = change_points(minutes(len(values)), values)
    assert changes == sorted(changes, key=when)
    for change in changes:
        assert np.isfinite([change.before, change.after, change.sigmas]).all()
        assert 0 <= change.confidence <= 1
    line = trend(minutes(len(values)), values)
    assert line is None or np.isfinite([line.slope_per_hour, line.total_change, line.sigmas]).all()


def when(change: ChangePoint) -> int:
    return change.time_ms
