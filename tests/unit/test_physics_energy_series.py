"""A series of energies: the report's filter against scipy, its outliers and edges, drop-outs, comparisons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from shotwatch_physics.energy_series import (
    DropOut,
    calibrate_light,
    drop_outs,
    smooth_energy,
)

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

START_MS = 1_656_660_780_000


def every(interval_ms: int, count: int) -> Times:
    return START_MS + interval_ms * np.arange(count)


def noisy(count: int, mean: float = 5.0, sigma: float = 0.1) -> Floats:
    return np.random.default_rng(7).normal(mean, sigma, count)


@pytest.mark.parametrize(("interval_ms", "sigma_s"), [(1000, 3.0), (100, 0.75), (60_000, 200.0)])
def test_in_the_middle_of_an_even_series_the_filter_is_scipy_s(interval_ms: int, sigma_s: float) -> None:
    energies = noisy(400)
    sigma = sigma_s * 1000 / interval_ms
    reach = int(4 * sigma + 0.5)
    expected = gaussian_filter1d(energies, sigma)
    smoothed = smooth_energy(every(interval_ms, 400), energies, sigma_s).smoothed
    np.testing.assert_allclose(smoothed[reach:-reach], expected[reach:-reach], rtol=1e-12)


def test_an_outlier_is_put_back_and_leaves_no_trace_around_it() -> None:
    energies = noisy(200)
    struck = energies.copy()
    struck[100] = 50.0
    bridged = energies.copy()
    bridged[100] = (energies[99] + energies[101]) / 2
    result = smooth_energy(every(1000, 200), struck, 5)
    expected = smooth_energy(every(1000, 200), bridged, 5)
    assert np.flatnonzero(result.outlier).tolist() == [100]
    assert not expected.outlier.any()
    assert result.smoothed[100] == 50.0
    others = np.arange(200) != 100
    np.testing.assert_array_equal(result.smoothed[others], expected.smoothed[others])


def test_outliers_in_a_row_are_bridged_from_the_nearest_values_inside() -> None:
    energies = np.tile([1.0, 1.1], 50)
    energies[[0, 40, 41, 42, 99]] = 30.0
    result = smooth_energy(every(1000, 100), energies, 0.001)
    assert np.flatnonzero(result.outlier).tolist() == [0, 40, 41, 42, 99]
    np.testing.assert_array_equal(result.smoothed, energies)
    wide = smooth_energy(every(1000, 100), energies, 5)
    assert ((wide.smoothed[~result.outlier] >= 1) & (wide.smoothed[~result.outlier] <= 1.1)).all()


def test_many_outliers_do_not_hide_each_other() -> None:
    energies = noisy(200)
    energies[::7] = 500.0
    assert np.flatnonzero(smooth_energy(every(1000, 200), energies, 5).outlier).tolist() == list(
        range(0, 200, 7)
    )


def test_a_constant_series_stays_and_its_one_other_value_is_an_outlier() -> None:
    energies = np.full(100, 3.0)
    energies[60] = 4.0
    result = smooth_energy(every(1000, 100), energies, 5)
    np.testing.assert_allclose(result.smoothed, energies)
    assert np.flatnonzero(result.outlier).tolist() == [60]


def test_an_end_is_the_mean_of_what_lies_on_its_one_side() -> None:
    energies = np.arange(50.0)
    weights = np.exp(-((np.arange(9) / 2) ** 2) / 2)
    smoothed = smooth_energy(every(1000, 50), energies, 2).smoothed
    assert smoothed[0] == pytest.approx((weights * energies[:9]).sum() / weights.sum())
    assert smoothed[-1] == pytest.approx(49 - smoothed[0])


def test_nothing_is_smoothed_across_a_gap_longer_than_the_filter_s_reach() -> None:
    before, after = noisy(50, mean=5), noisy(60, mean=5.2)
    times = np.concatenate([every(1000, 50), every(1000, 60) + 3_600_000])
    together = smooth_energy(times, np.concatenate([before, after]), 5).smoothed
    np.testing.assert_array_equal(together[:50], smooth_energy(every(1000, 50), before, 5).smoothed)
    np.testing.assert_array_equal(together[50:], smooth_energy(every(1000, 60), after, 5).smoothed)


def test_uneven_values_weigh_by_their_true_distance_in_time() -> None:
    times = START_MS + np.array([0, 700, 1900, 2000])
    energies = np.array([1.0, 2.0, 4.0, 3.0])
    weights = np.exp(-(((times - times[1]) / 1000) ** 2) / 2)
    smoothed = smooth_energy(times, energies, 1).smoothed
    assert smoothed[1] == pytest.approx((weights * energies).sum() / weights.sum())


def test_what_was_not_measured_has_no_weight_and_no_value() -> None:
    energies, times = noisy(100), every(1000, 100)
    missing = np.zeros(100, dtype=bool)
    missing[[0, 30, 31, 99]] = True
    result = smooth_energy(times, np.where(missing, np.nan, energies), 5)
    assert np.isnan(result.smoothed[missing]).all()
    assert not result.outlier[missing].any()
    alone = smooth_energy(times[~missing], energies[~missing], 5).smoothed
    np.testing.assert_array_equal(result.smoothed[~missing], alone)


@given(
    arrays(np.float64, st.integers(0, 30), elements=st.floats(-1e6, 1e6) | st.just(np.nan) | st.just(np.inf))
)
def test_any_series_is_smoothed_within_its_own_range(energies: Floats) -> None:
    result = smooth_energy(every(1000, len(energies)), energies, 2)
    measured = np.isfinite(energies)
    assert (np.isfinite(result.smoothed) == measured).all()
    if measured.any():
        low, high = energies[measured].min(), energies[measured].max()
        rounding = 1e-9 * max(abs(low), abs(high))
        assert (result.smoothed[measured] >= low - rounding).all()
        assert (result.smoothed[measured] <= high + rounding).all()


@pytest.mark.parametrize("sigma_s", [0.0, -1.0, np.nan, np.inf])
def test_a_filter_without_a_width_is_refused(sigma_s: float) -> None:
    with pytest.raises(ValueError, match="width"):
        smooth_energy(every(1000, 3), np.ones(3), sigma_s)


def test_what_is_no_series_is_refused() -> None:
    with pytest.raises(ValueError, match="fall"):
        smooth_energy(every(1000, 3)[::-1], np.ones(3), 1)
    with pytest.raises(ValueError, match="belong"):
        smooth_energy(every(1000, 3), np.ones(4), 1)
    with pytest.raises(ValueError, match="whole milliseconds"):
        drop_outs(np.array([0.5, 1.5]), np.ones(2))  # type: ignore[arg-type]


def test_runs_without_energy_are_drop_outs() -> None:
    energies = np.full(20, 2.0)
    energies[0], energies[5:8], energies[19] = 0.0, [np.nan, 0.9, -1.0], 0.99
    assert drop_outs(every(1000, 20), energies) == [
        DropOut(START_MS, START_MS, 1),
        DropOut(START_MS + 5000, START_MS + 7000, 3),
        DropOut(START_MS + 19_000, START_MS + 19_000, 1),
    ]


def test_a_lower_share_lets_weak_shots_pass() -> None:
    energies = np.array([2.0, 2.0, 0.5, 2.0])
    assert len(drop_outs(every(1000, 4), energies)) == 1
    assert drop_outs(every(1000, 4), energies, share=0.2) == []


def test_a_series_without_any_energy_is_one_drop_out_and_an_empty_one_has_none() -> None:
    assert drop_outs(every(1000, 3), np.array([0.0, np.nan, -1.0])) == [DropOut(START_MS, START_MS + 2000, 3)]
    assert drop_outs(every(1000, 0), np.empty(0)) == []


def test_light_follows_energy_in_a_robust_ratio() -> None:
    rng = np.random.default_rng(4)
    energy = rng.normal(5, 0.5, 2000)
    light = 2e5 * energy * rng.normal(1, 0.01, 2000)
    light[:40] = 1e9
    energy[40] = np.nan
    calibration = calibrate_light(energy, light)
    assert calibration.shots == 1999
    assert calibration.ratio == pytest.approx(2e5, rel=2e-3)
    assert calibration.spread == pytest.approx(0.01, rel=0.1)
    assert calibration.correlation > 0.9


def test_without_pairs_a_comparison_is_undefined_and_states_how_few_there_were() -> None:
    nothing = calibrate_light(np.array([1.0, np.nan]), np.array([0.0, 1.0]))
    assert nothing.shots == 0
    assert np.isnan([nothing.ratio, nothing.spread, nothing.correlation]).all()
    few = calibrate_light(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert few.shots == 2
    assert np.isnan([few.ratio, few.spread, few.correlation]).all()


def test_a_light_that_never_varied_is_correlated_with_nothing() -> None:
    calibration = calibrate_light(np.full(5, 2.0), np.arange(1.0, 6.0))
    assert calibration.ratio == 1.5
    assert np.isnan(calibration.correlation)
