"""A camera's noise is fitted as it was made, and lets through as few dark pixels as it states."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats

from shotwatch_physics.background import Background, estimate_background
from shotwatch_physics.noise import NoiseModel, counts_above_dark, fit_noise, light_in, light_of

pytestmark = pytest.mark.slow

SHAPE = (102, 128)


def dark_frames(count: int, sigma: float = 4.0, seed: int = 1) -> NDArray[np.uint16]:
    """Frames of a camera whose pixels have levels of their own about 30 counts."""
    level = np.random.default_rng(0).normal(30, 1, SHAPE)
    frames = np.random.default_rng(seed).normal(level, sigma, (count, *SHAPE))
    return np.round(frames).astype(np.uint16)


def test_the_model_recovers_mean_and_standard_deviation_of_each_pixel() -> None:
    level = np.random.default_rng(0).normal(30, 1, SHAPE)
    model = fit_noise(dark_frames(400))
    assert model.frames == 400
    deviations = (model.mean - level) / (4 / np.sqrt(400))
    assert stats.kstest(deviations.ravel(), "norm").statistic < 0.02
    assert model.sigma.mean() == pytest.approx(4.0, rel=5e-3)
    assert model.sigma.std() == pytest.approx(4 / np.sqrt(2 * 399), rel=0.05)


@pytest.mark.parametrize("count", [10, 50, 200])
@pytest.mark.parametrize("p", [1e-2, 1e-3, 1e-4])
def test_no_more_dark_pixels_are_lit_than_the_probability_states(count: int, p: float) -> None:
    model = fit_noise(dark_frames(count), p)
    fresh = dark_frames(50, seed=2)
    lit = int((light_of(fresh, model) > 0).sum())
    assert lit <= stats.binom.ppf(0.999, fresh.size, p)
    assert lit >= 0.5 * p * fresh.size


def test_the_default_probability_is_the_report_s() -> None:
    model = fit_noise(dark_frames(50))
    margin = model.sigma * stats.t(49).isf(1e-6) * np.sqrt(1.02)
    assert not light_in(0.999 * margin, model).any()
    assert light_in(1.001 * margin, model).all()


def test_many_dark_frames_leave_the_normal_distribution_s_threshold() -> None:
    flat = np.ones((2, 2), np.float32)
    lit = light_in(np.float32([4.752, 4.755])[:, None, None] * flat, NoiseModel(flat, flat, 10**7)) > 0
    assert lit.all(axis=(1, 2)).tolist() == lit.any(axis=(1, 2)).tolist() == [False, True]


def test_a_steady_pixel_has_the_noise_of_rounding() -> None:
    model = fit_noise(np.full((10, 4, 5), 30, np.uint16))
    assert (model.mean == 30).all()
    assert model.sigma == pytest.approx(1 / np.sqrt(12))


def test_light_is_the_count_above_the_mean_where_it_cannot_be_noise() -> None:
    flat = np.ones((1, 4), np.float32)
    model = NoiseModel(30 * flat, 2 * flat, 50)
    light = light_of(np.array([[[0, 30, 40, 45]]], np.uint16), model)
    assert light.dtype == np.float32
    assert light.tolist() == [[[0, 0, 0, 15]]]


def test_without_dark_frames_the_border_s_noise_stands_in() -> None:
    frames = dark_frames(20)
    frames[:, 40:60, 50:70] = 2000
    border = estimate_background(frames)
    light = light_of(frames, border)
    expected = border.level + stats.norm.isf(1e-6) * border.noise
    np.testing.assert_array_equal(light > 0, frames > expected.astype(np.float32)[:, None, None])
    assert light[:, 50, 60] == pytest.approx(2000 - border.level, abs=1e-3)
    assert (light > 0).sum() <= 20 * 400 + 5


def test_no_border_is_taken_to_be_quieter_than_one_count() -> None:
    silent = Background(np.array([30.0]), np.array([0.0]))
    least = stats.norm.isf(1e-6)
    lit = light_in(np.float32([[[0.999 * least, 1.001 * least]]]), silent) > 0
    assert lit.tolist() == [[[False, True]]]


def test_hot_pixels_and_columns_belong_to_the_noise() -> None:
    frames = dark_frames(50)
    frames[:, 50, 60] = 900
    frames[:, :, 30] += 200
    frames[:, 0, 0] = 900
    model = fit_noise(frames)
    assert not light_of(frames, model).any()


def test_a_frame_with_a_beam_is_not_dark() -> None:
    frames = dark_frames(50)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    beam = 40 * np.exp(-((row - 50) ** 2 + (column - 70) ** 2) / (2 * 6**2))
    frames[17] += beam.round().astype(np.uint16)
    with pytest.raises(ValueError, match=r"frame 17 is not dark: about column (6|7)\d, row (4|5)\d"):
        fit_noise(frames)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (np.zeros((9, 4, 4), np.uint16), "at least 10 dark frames, not 9"),
        (np.zeros((10, 4), np.uint16), "must be"),
        (np.zeros((10, 4, 4)), "must be"),
        (np.zeros((10, 0, 4), np.uint16), "must be"),
    ],
)
def test_what_are_not_dark_frames_is_refused(frames: NDArray[np.uint16], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_noise(frames)


@pytest.mark.parametrize("p", [0.0, -1.0, 0.6, np.nan])
def test_what_is_no_probability_of_noise_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        fit_noise(np.zeros((10, 2, 2), np.uint16), p)


def test_frames_of_another_shape_are_refused() -> None:
    model = fit_noise(np.zeros((10, 4, 5), np.uint16))
    border = estimate_background(np.zeros((3, 4, 5), np.uint16))
    for noise, shape in ((model, (2, 5, 4)), (model, (4, 5)), (border, (2, 4, 5))):
        with pytest.raises(ValueError, match="noise's shape"):
            counts_above_dark(np.zeros(shape, np.uint16), noise)


@settings(max_examples=50)
@given(
    st.tuples(st.just(10), st.integers(1, 6), st.integers(1, 6)).flatmap(
        lambda shape: arrays(np.uint16, shape, elements=st.sampled_from([0, 29, 30, 31, 4092, 65535]))
    )
)
def test_any_ten_frames_have_a_model_or_a_reason(frames: NDArray[np.uint16]) -> None:
    with suppress(ValueError):
        model = fit_noise(frames)
        assert (model.sigma > 0).all()
        assert np.isfinite(light_of(frames, model)).all()


def test_a_stored_model_comes_back_the_same() -> None:
    model = fit_noise(dark_frames(20), p=1e-4)
    stored = model.to_npz()
    back = NoiseModel.from_npz(stored)
    np.testing.assert_array_equal(back.mean, model.mean)
    np.testing.assert_array_equal(back.sigma, model.sigma)
    assert back.frames == 20
    assert back.to_npz() == stored


FLAT = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("mean", "sigma", "frames", "reason"),
    [
        (FLAT, FLAT.T, 50, r"sigma must be \(h, w\) float32"),
        (FLAT.astype(float), FLAT, 50, r"mean must be \(h, w\) float32"),
        (FLAT * np.nan, FLAT, 50, "mean must be a finite number"),
        (FLAT, FLAT * np.inf, 50, "sigma must be a finite number"),
        (FLAT, 0 * FLAT, 50, "sigma must be positive"),
        (FLAT[:0], FLAT[:0], 50, "mean must be a finite number"),
        (FLAT, FLAT, 9, "at least 10 dark frames"),
    ],
)
def test_an_impossible_model_is_refused(
    mean: NDArray[np.float32], sigma: NDArray[np.float32], frames: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        NoiseModel(mean, sigma, frames)


@given(st.data())
def test_damaged_bytes_are_refused_or_harmless(data: st.DataObject) -> None:
    stored = bytearray(NoiseModel(FLAT, FLAT, 50).to_npz())
    stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = NoiseModel.from_npz(bytes(stored[: data.draw(st.integers(0, len(stored)))]))
    except ValueError:
        return
    assert model.mean.shape == model.sigma.shape
