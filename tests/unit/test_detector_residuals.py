"""Scores of residuals, with known answers."""

import numpy as np
import pytest

from shotwatch_detector.arrays import Features
from shotwatch_detector.fine_structure import FineDeviations, map_fine, measure_structure
from shotwatch_detector.residuals import (
    ResidualMap,
    map_residuals,
    map_smoothed,
    measure_residuals,
    smooth,
)

SHAPE = (40, 50)
FLAT = ResidualMap(np.zeros(SHAPE, np.float32), np.full(SHAPE, 0.01, np.float32))
FULL = np.ones(1)


def measured(residual: np.ndarray, brightness: np.ndarray, residual_map: ResidualMap) -> Features:
    return measure_residuals(residual, np.zeros_like(residual), brightness, residual_map)


def single(y: int, x: int, value: float = 1.0) -> np.ndarray:
    residual = np.zeros((1, *SHAPE), np.float32)
    residual[0, y, x] = value
    return residual


def test_smoothing_spreads_a_pixel_over_a_triangle_of_five() -> None:
    triangle = np.array([1, 2, 3, 2, 1]) / 9
    assert smooth(single(20, 30))[0, 18:23, 28:33] == pytest.approx(np.outer(triangle, triangle))
    assert smooth(single(20, 30)).sum() == pytest.approx(1)


def test_smoothing_a_frame_does_not_wrap_around_its_borders() -> None:
    smoothed = smooth(single(0, 0))[0]
    assert smoothed[-3:].max() == 0
    assert smoothed[:, -3:].max() == 0


def test_smoothing_leaves_its_input_alone() -> None:
    residual = single(20, 30)
    smooth(residual)
    assert (residual == single(20, 30)).all()


def test_the_residual_is_the_integral_of_the_absolute_difference() -> None:
    residual = single(3, 4, 0.5) - single(10, 40, 0.25)
    assert measured(residual, FULL, FLAT)["residual"] == pytest.approx(0.75)


def test_a_hot_spot_is_found_where_it_is_and_as_high_as_it_is() -> None:
    scores = measured(single(7, 33, 0.9), FULL, FLAT)
    assert (scores["hot_spot_x"][0], scores["hot_spot_y"][0]) == (33, 7)
    assert scores["hot_spot_excess"] == pytest.approx(0.1)
    assert scores["hot_spot"] == pytest.approx(10)
    assert scores["dark_spot"] == pytest.approx(-10)


def test_a_dark_spot_is_the_mirror_image_of_a_hot_one() -> None:
    scores = measured(single(7, 33, -0.9), FULL, FLAT)
    assert (scores["dark_spot_x"][0], scores["dark_spot_y"][0]) == (33, 7)
    assert scores["dark_spot"] == pytest.approx(10)


def test_excess_beside_an_equal_deficit_is_no_spot() -> None:
    scores = measured(single(7, 33) - single(7, 20), FULL, FLAT)
    assert scores["hot_spot"] == pytest.approx(0, abs=1e-4)


def test_what_is_normal_at_a_pixel_is_no_excess() -> None:
    residual_map = ResidualMap(smooth(single(7, 33))[0], FLAT.sigma)
    assert measured(single(7, 33), FULL, residual_map)["hot_spot"] == pytest.approx(0, abs=1e-4)


def test_scores_of_a_faint_frame_are_scaled_back() -> None:
    full, half = (measured(single(7, 33), np.array([b]), FLAT) for b in (1.0, 0.5))
    for name in ("hot_spot", "residual"):
        assert half[name] == pytest.approx(full[name] / 2)


def test_a_map_holds_median_and_spread_of_each_pixel_whatever_a_few_frames_do() -> None:
    rng = np.random.default_rng(1)
    residuals = rng.normal(0.3, 0.05, (1000, 4, 5)).astype(np.float32)
    residuals[:20] += 5
    residual_map = map_residuals(residuals, 1e-5)
    assert residual_map.centre == pytest.approx(0.3, abs=0.01)
    assert residual_map.sigma == pytest.approx(0.05, rel=0.15)


def test_a_pixel_that_never_varies_is_as_noisy_as_rounding_makes_it() -> None:
    counts = np.random.default_rng(1).uniform(100, 110, (4000, 7, 8))
    rounding = (counts.round() - counts).astype(np.float32) / 500
    still = np.zeros((50, 7, 8), np.float32)
    maps = [
        (map_fine(still, 1 / 500).pixels.sigma, rounding),
        (map_smoothed(still, 1 / 500).sigma[2:-2, 2:-2], smooth(rounding)[:, 2:-2, 2:-2]),
        (map_fine(still, 1 / 500).columns.sigma, rounding.mean(axis=1)),
    ]
    for sigma, noise in maps:
        assert sigma == pytest.approx(noise.std(), rel=0.05)


def test_a_pixel_that_few_frames_show_as_quiet_is_as_noisy_as_those_around_it() -> None:
    residuals = np.random.default_rng(1).normal(0, 0.05, (400, 21, 22)).astype(np.float32)
    residuals[:, 10, 11] = 0
    assert map_residuals(residuals, 1e-5).sigma[10, 11] == pytest.approx(0.05, rel=0.1)


def test_a_camera_of_little_noise_has_little_noise_in_its_map() -> None:
    residuals = np.random.default_rng(1).normal(0, 0.0002, (400, 21, 22)).astype(np.float32)
    assert map_residuals(residuals, 1e-5).sigma == pytest.approx(0.0002, rel=0.2)


def fine(residual: np.ndarray) -> FineDeviations:
    noise = np.random.default_rng(2).normal(0, 0.01, (300, *SHAPE)).astype(np.float32)
    _, found = measure_structure(residual, np.zeros_like(residual), FLAT, map_fine(noise, 1e-5))
    return found


def test_a_single_pixel_stands_out_by_nearly_its_noise_unsmoothed() -> None:
    found = fine(single(7, 33, 0.1)).pixels.highest
    assert (found.x, found.y) == (33, 7)
    assert found.deviation == pytest.approx(10, rel=0.15)
    assert found.size == pytest.approx(0.1 * 8 / 9, rel=0.1)


def test_a_dead_line_stands_out_by_all_of_its_pixels() -> None:
    residual = np.zeros((1, *SHAPE), np.float32)
    residual[0, :, 21] = -0.01
    found = fine(residual)
    assert found.columns.lowest.x == 21
    assert found.columns.lowest.deviation == pytest.approx(-np.sqrt(SHAPE[0] / 1.25), rel=0.15)
    assert -found.columns.lowest.size == pytest.approx(0.01, rel=0.1)
    assert found.rows.lowest.deviation > -2


def test_a_bright_row_is_at_its_place() -> None:
    residual = np.zeros((1, *SHAPE), np.float32)
    residual[0, 13] = 0.01
    found = fine(residual)
    assert found.rows.highest.y == 13
    assert found.rows.highest.deviation == pytest.approx(np.sqrt(SHAPE[1] / 1.25), rel=0.15)
