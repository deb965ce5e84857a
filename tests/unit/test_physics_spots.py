"""Hot spots and holes are found where they were put, as strong and wide as they were made."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import correlate, gaussian_filter, uniform_filter

from shotwatch_physics.feature import Features, Light
from shotwatch_physics.padded import fill_counts, make_padded
from shotwatch_physics.spots import SPOT_FEATURES, running_maximum, spots_in
from shotwatch_shots.features.catalogue import FEATURE_SPECS

SHAPE = (102, 128)


def measure_spots(counts: Light) -> Features:
    """Return SPOT_FEATURES (n,) of counts (n, h, w)."""
    columns = np.full((len(counts), len(SPOT_FEATURES)), np.nan)
    padded, nothing = make_padded(*counts.shape[1:]), np.zeros(counts.shape[1:], np.float32)
    for frame, found in zip(counts, columns, strict=True):
        fill_counts(padded, frame, nothing)
        spots_in(padded, found)
    return dict(zip(SPOT_FEATURES, columns.T, strict=True))


def measure(frame: NDArray[np.floating]) -> dict[str, float]:
    features = measure_spots(frame.astype(np.float32)[None])
    return {name: float(values[0]) for name, values in features.items()}


def wide_beam() -> NDArray[np.float64]:
    """A flat beam that falls off slowly, with the noise of a camera."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    radius = ((column - 64) / 45) ** 2 + ((row - 50) / 35) ** 2
    light: NDArray[np.float64] = 2000 * np.exp(-(radius**2))
    return light + np.random.default_rng(0).normal(0, 4, SHAPE)


@pytest.mark.parametrize(("x", "y"), [(64, 50), (50, 60), (80, 41)])
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("spec", [1, -1])
def test_a_square_spot_is_found_at_its_place_with_its_contrast_and_size(
    x: int, y: int, side: int, spec: int
) -> None:
    frame = wide_beam()
    half = side // 2
    frame[y - half : y + half + 1, x - half : x + half + 1] += spec * 0.3 * 2000
    name, contrast = ("spot", "excess") if spec > 0 else ("hole", "deficit")
    features = measure(frame)
    place = [features[f"{name}_x"], features[f"{name}_y"]]
    assert place == pytest.approx([x, y], abs=half - 1)
    peak = uniform_filter(frame, 3).max()
    assert features[f"{name}_{contrast}"] * peak == pytest.approx(0.3 * 2000, rel=0.15)
    assert features[f"{name}_size"] == side**2


def test_a_hot_pixel_is_a_ninth_of_itself_on_nine_pixels() -> None:
    frame = np.full((40, 50), 900.0)
    frame[20, 30] += 450
    features = measure(frame)
    assert features["spot_excess"] == pytest.approx(50 / 950)
    assert abs(features["spot_x"] - 30) <= 1
    assert abs(features["spot_y"] - 20) <= 1
    assert features["spot_size"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_contrast_is_that_of_uniform_filters(seed: int) -> None:
    frame = np.zeros(SHAPE)
    frame[8:-8, 8:-8] = np.random.default_rng(seed).integers(0, 4093, (86, 112))
    near = uniform_filter(frame, 3)
    ring = (121 * uniform_filter(frame, 11) - 25 * uniform_filter(frame, 5)) / 96
    contrast = (near - ring) / near.max()
    features = measure(frame)
    assert features["spot_excess"] == pytest.approx(contrast.max())
    assert contrast[int(features["spot_y"]), int(features["spot_x"])] == pytest.approx(contrast.max())
    lit = np.where(ring > 0.2 * near.max(), -contrast, -np.inf)
    assert features["hole_deficit"] == pytest.approx(lit.max())
    assert lit[int(features["hole_y"]), int(features["hole_x"])] == pytest.approx(lit.max())


def test_windows_end_where_the_frame_ends() -> None:
    frame = np.zeros((1, 8))
    frame[0, 0] = 60
    features = measure(frame)
    assert features["spot_x"] == 0
    assert features["spot_excess"] == pytest.approx(1)
    frame[0, 3:] = 12
    assert measure(frame)["spot_excess"] == pytest.approx((30 - 12) / 30)


def test_a_gaussian_beam_contrasts_with_itself_as_stated() -> None:
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for sigma in (10, 15, 20):
        frame = 3000 * np.exp(-((row - 50) ** 2 + (column - 64) ** 2) / (2 * sigma**2))
        features = measure(frame)
        assert features["spot_excess"] == pytest.approx(11.4 / sigma**2, rel=0.15)
        assert (features["spot_x"], features["spot_y"]) == (64, 50)


def test_the_dark_beside_the_beam_is_no_hole() -> None:
    frame = np.zeros(SHAPE)
    frame[20:80, 30:100] = 1000
    frame[5:8, 10:13] = -400
    assert measure(frame)["hole_deficit"] < 0.8
    frame[50:53, 60:63] = 0
    features = measure(frame)
    assert (features["hole_x"], features["hole_y"], features["hole_size"]) == (61, 51, 9)
    assert features["hole_deficit"] == pytest.approx(1)


def test_an_even_frame_has_no_contrast() -> None:
    features = measure(np.full((20, 20), 500.0))
    assert features["spot_excess"] == pytest.approx(0, abs=1e-12)
    assert features["hole_deficit"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 3)])
def test_a_frame_without_room_for_surroundings_has_no_spots(shape: tuple[int, int]) -> None:
    assert np.isnan(list(measure(np.full(shape, 500.0)).values())).all()


counts = st.tuples(st.integers(0, 3), st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(
        np.float32,
        shape,
        elements=st.one_of(st.sampled_from([0.0, 4092.0, 65535.0]), st.integers(-65535, 65535)),
    )
)


@settings(max_examples=300)
@given(counts)
@example(np.array([[[-3, -1, 0, 0]]], np.float32))  # no sum is positive, but scipy's running sum is, by 1e-17
def test_any_counts_have_spots_in_range_or_none_for_the_reasons_given(frames: Light) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = measure_spots(frames)
    assert list(features) == list(SPOT_FEATURES)
    for name, values in features.items():
        low, high = FEATURE_SPECS[name].range
        assert (np.isnan(values) | ((values >= low) & (values <= high))).all()
        known = features["hole_x" if name.startswith("hole") else "spot_x"]
        assert (np.isnan(values) == np.isnan(known)).all()
    for frame, excess in zip(frames, features["spot_excess"], strict=True):
        bright = correlate(frame.astype(np.int64), np.ones((3, 3), np.int64), mode="constant").max() > 0
        assert np.isfinite(excess) == (bright and max(frame.shape) > 3)


def test_an_image_out_of_focus_is_less_sharp() -> None:
    sharp = gaussian_filter(np.random.default_rng(8).random((60, 80)), 1.0) * 1000
    blurred = gaussian_filter(sharp, 0.5)
    before, after = measure_spots(np.stack([sharp, blurred]).astype(np.float32))["sharpness"]
    difference = sharp - uniform_filter(sharp, 3, mode="nearest")
    inner = (slice(1, -1), slice(1, -1))
    assert before == pytest.approx((difference[inner] ** 2).sum() / (sharp**2).sum(), rel=0.2)
    assert after < 0.8 * before


def test_a_frame_s_spots_do_not_depend_on_its_neighbours() -> None:
    frames = np.random.default_rng(1).normal(5, 50, (12, 20, 30)).astype(np.float32)
    whole = measure_spots(frames)
    for start in range(0, 12, 5):
        for name, values in measure_spots(frames[start : start + 5]).items():
            np.testing.assert_array_equal(values, whole[name][start : start + 5])


def test_the_running_maximum_is_that_of_all_frames_so_far() -> None:
    frames = np.random.default_rng(2).integers(0, 4093, (30, 5, 6), dtype=np.uint16)
    so_far = None
    for start in range(0, 30, 7):
        so_far = running_maximum(frames[start : start + 7], so_far)
    np.testing.assert_array_equal(so_far, frames.max(axis=0))


def test_without_frames_the_maximum_stays() -> None:
    before = np.arange(6, dtype=np.uint16).reshape(2, 3)
    np.testing.assert_array_equal(running_maximum(np.zeros((0, 2, 3), np.uint16), before), before)
    assert not running_maximum(np.zeros((0, 2, 3), np.uint16)).any()


def test_a_maximum_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        running_maximum(np.zeros((1, 2, 3), np.uint16), np.zeros((3, 2), np.uint16))
