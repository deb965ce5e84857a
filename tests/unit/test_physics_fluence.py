"""The fluence of ISO 13694 against what top hats and Gaussians must give, and unusual frames."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from shotwatch_physics.feature import Features, Light
from shotwatch_physics.fluence import FLUENCE_FEATURES, fluence_in
from shotwatch_physics.padded import fill_counts, fill_light, make_padded
from shotwatch_shots.features.catalogue import FEATURE_SPECS

SHAPE = (102, 128)


def measure_fluence(light: Light) -> Features:
    """Return FLUENCE_FEATURES (n,) of light (n, h, w)."""
    columns = np.full((len(light), len(FLUENCE_FEATURES)), np.nan)
    padded, nothing = make_padded(*light.shape[1:]), np.zeros(light.shape[1:], np.float32)
    for frame, found in zip(light, columns, strict=True):
        fill_counts(padded, frame, nothing)
        fill_light(padded, nothing)
        fluence_in(padded, found)
    return dict(zip(FLUENCE_FEATURES, columns.T, strict=True))


def measure(frame: NDArray[np.floating]) -> dict[str, float]:
    features = measure_fluence(frame.astype(np.float32)[None])
    return {name: float(values[0]) for name, values in features.items()}


def gaussian(sigma_x: float, sigma_y: float, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    row, column = np.mgrid[: shape[0], : shape[1]]
    x, y = shape[1] / 2 - 0.2, shape[0] / 2 + 0.3
    light: NDArray[np.float64] = np.exp(-(((column - x) / sigma_x) ** 2 + ((row - y) / sigma_y) ** 2) / 2)
    return 3000 * light


def disc(radius: float, edge: float = 0.0) -> NDArray[np.float64]:
    """An evenly lit disc, whose edge falls linearly over `edge` px."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance: NDArray[np.float64] = np.hypot(column - 63.6, row - 50.3)
    if not edge:
        return np.where(distance <= radius, 2000.0, 0.0)
    return 2000 * np.clip((radius + edge / 2 - distance) / edge, 0, 1)


def test_a_top_hat_is_even_flat_and_steep() -> None:
    frame = disc(30)
    features = measure(frame)
    assert features["effective_area"] == pytest.approx((frame > 0).sum())
    assert features["fluence_uniformity"] == pytest.approx(0, abs=1e-9)
    assert features["flatness"] == pytest.approx(1)
    assert features["edge_steepness"] == 0
    assert features["peak_to_average"] == pytest.approx(1)
    assert features["plateau_uniformity"] == pytest.approx(1 / 64)
    assert features["encircled_radius_50"] == pytest.approx(30 * np.sqrt(0.5), rel=0.01)
    assert features["encircled_radius_86"] == pytest.approx(30 * np.sqrt(0.865), rel=0.01)


@pytest.mark.parametrize(("sigma_x", "sigma_y"), [(12, 12), (15, 9), (8, 14)])
def test_a_gaussian_has_its_analytic_areas_and_ratios(sigma_x: float, sigma_y: float) -> None:
    features = measure(gaussian(sigma_x, sigma_y))
    steps = 1 - (1 / sigma_x**2 + 1 / sigma_y**2) / 3
    assert features["effective_area"] == pytest.approx(4 * np.pi * sigma_x * sigma_y, rel=1e-3)
    assert features["flatness"] == pytest.approx(0.9 / np.log(10), rel=0.01)
    assert features["fluence_uniformity"] == pytest.approx(
        np.sqrt(0.99 / 2 / np.log(10) - (0.9 / np.log(10)) ** 2) / (0.9 / np.log(10)), rel=0.01
    )
    assert features["edge_steepness"] == pytest.approx(1 - np.log(0.9) / np.log(0.1), rel=0.01)
    assert features["peak_to_average"] * features["flatness"] == pytest.approx(1 / steps, rel=2e-3)
    assert features["plateau_uniformity"] > 0.4


@pytest.mark.parametrize("sigma", [2, 5, 12])
def test_a_round_gaussian_s_light_is_encircled_where_theory_predicts(sigma: float) -> None:
    features = measure(gaussian(sigma, sigma))
    assert features["encircled_radius_50"] == pytest.approx(sigma * np.sqrt(2 * np.log(2)), rel=0.02)
    assert features["encircled_radius_86"] == pytest.approx(2 * sigma, rel=0.02)


def test_an_edge_is_as_steep_as_its_areas_imply() -> None:
    features = measure(disc(30, edge=10))
    outer, inner = 35 - 0.1 * 10, 35 - 0.9 * 10
    assert features["edge_steepness"] == pytest.approx(1 - (inner / outer) ** 2, rel=0.02)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
def test_the_plateau_s_uniformity_is_the_width_of_its_noise(noise: float) -> None:
    random = np.random.default_rng(3)
    frame = disc(45) * (1 + noise * random.normal(size=SHAPE))
    features = measure(frame)
    maximum = uniform_filter(frame, 3)[3:-3, 3:-3].max() / 2000
    assert features["plateau_uniformity"] * maximum == pytest.approx(2.355 * noise, rel=0.15)
    assert features["fluence_uniformity"] == pytest.approx(noise, rel=0.05)


def test_a_hot_pixel_changes_the_ratio_to_the_peak_and_little_else() -> None:
    frame = disc(30)
    before = measure(frame)
    frame[50, 64] *= 1.8
    after = measure(frame)
    assert after["peak_to_average"] == pytest.approx(1.8, rel=0.01)
    assert after["flatness"] == pytest.approx(before["flatness"], rel=0.1)
    for name in ("effective_area", "encircled_radius_50", "encircled_radius_86"):
        assert after[name] == pytest.approx(before[name], rel=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5), SHAPE])
def test_light_on_a_single_pixel_has_defined_features(shape: tuple[int, int]) -> None:
    frame = np.zeros(shape)
    frame[-1, shape[1] // 2] = 500
    features = measure(frame)
    assert features["effective_area"] == 1
    assert features["fluence_uniformity"] == 0
    assert features["edge_steepness"] == 0
    assert features["peak_to_average"] == 1
    assert features["encircled_radius_50"] < features["encircled_radius_86"] < 0.6


def test_without_light_there_is_no_fluence() -> None:
    features = measure_fluence(np.zeros((3, 4, 5), np.float32))
    assert list(features) == list(FLUENCE_FEATURES)
    assert all(np.isnan(values).all() for values in features.values())
    assert all(values.shape == (3,) for values in features.values())


lights = st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(
        np.float32,
        shape,
        elements=st.one_of(st.sampled_from([0.0, 4092.0, 65535.0]), st.floats(0, 65535, width=32)),
    )
)


@settings(max_examples=300)
@given(lights)
def test_any_light_has_every_feature_in_its_range_and_darkness_has_none(light: Light) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = measure_fluence(light)
    lit = light.any(axis=(1, 2))
    for name, values in features.items():
        low, high = FEATURE_SPECS[name].range
        np.testing.assert_array_equal(np.isfinite(values), lit)
        assert ((values[lit] >= low * (1 - 1e-12)) & (values[lit] <= high * (1 + 1e-12))).all()


def test_a_frame_s_fluence_does_not_depend_on_its_neighbours() -> None:
    light = np.random.default_rng(1).exponential(500, (12, 20, 30)).astype(np.float32)
    whole = measure_fluence(light)
    for start in range(0, 12, 5):
        for name, values in measure_fluence(light[start : start + 5]).items():
            np.testing.assert_array_equal(values, whole[name][start : start + 5])
