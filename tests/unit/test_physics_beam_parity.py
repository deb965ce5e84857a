"""The beam features are those of the plain implementation in tests/reference/beam, whatever the frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from shotwatch_physics.beam import measure_beams
from shotwatch_physics.feature import Features
from shotwatch_physics.noise import NoiseModel
from tests.reference.beam import beam as reference

Images = NDArray[np.uint16]

SATURATED_AT = 4092
SHAPE = (102, 128)
RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "beams" / "regime_change_1hz"
EXACT = {
    *("saturated_pixels", "dead_pixels", "hot_pixels", "peak_intensity", "plateau_uniformity"),
    *("spot_x", "spot_y", "spot_size", "hole_x", "hole_y", "hole_size"),
}
"""Features that are exactly equal: whole numbers, one pixel, and distances between bins of a histogram."""
TOLERANCE = 1e-9
"""Relative and absolute, for all other features: they are sums in another order."""


def assert_equal_features(images: Images, noise: NoiseModel | None = None) -> None:
    measured, expected = (f(images, SATURATED_AT, noise) for f in (measure_beams, reference.measure_beams))
    assert list(measured) == list(expected)
    for name, values in expected.items():
        tolerance = 0.0 if name in EXACT else TOLERANCE
        np.testing.assert_allclose(
            measured[name], values, rtol=tolerance, atol=tolerance, err_msg=name, equal_nan=True
        )


def beam(
    sigma_x: float, sigma_y: float, x: float = 61.3, y: float = 49.6, peak: float = 2500.0
) -> NDArray[np.float64]:
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    light: NDArray[np.float64] = np.exp(-(((column - x) / sigma_x) ** 2 + ((row - y) / sigma_y) ** 2) / 2)
    return peak * light


def made_frames() -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the name and the light of frames without noise and without pedestal."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for sigma in (0.6, 1.5, 3, 7, 15, 22, 30):
        yield f"sigma {sigma}", beam(sigma, 0.8 * sigma)
    yield "slope", beam(12, 9) + 0.6 * column + 0.3 * row
    yield "bent", beam(8, 8) + 0.01 * (column - 64) ** 2 + 0.005 * (row - 50) * (column - 30)
    yield "faint", beam(14, 14, peak=40)
    yield "clipped", beam(14, 11, x=3, y=95)
    yield "double", beam(6, 6, x=35) + beam(9, 5, x=90, peak=1500)
    yield "flat top", np.where(np.hypot(column - 64, row - 50) < 30, 2000.0, 0.0)
    yield "saturated", np.minimum(beam(20, 20, peak=9000), SATURATED_AT)
    hot = beam(15, 12)
    hot[[5, 50, 80], [7, 64, 127]] += 1500
    yield "hot pixels", hot
    dead = beam(15, 12) + 30
    dead[[50, 49, 60], [64, 30, 70]] = 0
    yield "dead pixels", dead
    yield "noise only", np.zeros(SHAPE)


def noisy(light: NDArray[np.float64], pedestal: float, sigma: float) -> Images:
    noise = np.random.default_rng(7).normal(0, sigma, (3, *light.shape))
    return np.clip(np.round(light + pedestal + noise), 0, 65535).astype(np.uint16)


MADE = dict(made_frames())


@pytest.mark.parametrize(("pedestal", "sigma"), [(0, 0.0), (30, 3.0), (400, 0.7)])
@pytest.mark.parametrize("name", MADE)
def test_made_frames_have_the_reference_s_features(name: str, pedestal: float, sigma: float) -> None:
    assert_equal_features(noisy(MADE[name], pedestal, sigma))


@pytest.mark.parametrize("name", MADE)
def test_frames_above_a_noise_model_have_the_reference_s_features(name: str) -> None:
    random = np.random.default_rng(5)
    mean, sigma = random.normal(30, 2, SHAPE), random.uniform(1, 4, SHAPE)
    noise = NoiseModel(mean.astype(np.float32), sigma.astype(np.float32), 50)
    assert_equal_features(noisy(MADE[name], 30, 3.0), noise)


def test_black_borders_are_left_out_as_in_the_reference() -> None:
    frames = noisy(beam(12, 9), 40, 2.0)
    frames[1, :9] = 0
    frames[2, :, 110:] = 0
    assert_equal_features(frames)


@pytest.mark.parametrize("shape", [SHAPE, (1, 1), (1, 9), (9, 1), (2, 2), (3, 3), (5, 4), (11, 3), (40, 300)])
@pytest.mark.parametrize("count", [0, 1, 4092, 65535])
def test_even_frames_and_a_single_pixel_have_the_reference_s_features(
    shape: tuple[int, int], count: int
) -> None:
    even = np.full((1, *shape), count, np.uint16)
    assert_equal_features(even)
    even[0, shape[0] // 2, shape[1] // 3] ^= 0x0FFF
    assert_equal_features(even)


frames = st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30)).flatmap(
    lambda shape: arrays(
        np.uint16,
        shape,
        elements=st.one_of(st.integers(0, 40), st.integers(0, 65535), st.sampled_from([0, 4092, 65535])),
    )
)


@settings(max_examples=300, deadline=None)
@given(frames)
def test_any_frames_have_the_reference_s_features(images: Images) -> None:
    assert_equal_features(images)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded frames are absent")
def test_recorded_frames_have_the_reference_s_features() -> None:
    counts = np.stack([np.asarray(Image.open(file))[:510, :640] for file in sorted(RECORDED.glob("*.png"))])
    binned = np.round(counts.reshape(-1, 102, 5, 128, 5).mean(axis=(2, 4)) / 16).astype(np.uint16)
    assert_equal_features(binned)
    assert_equal_features(counts[:3])


@pytest.mark.parametrize("cuts", [(1,), (2, 3), (7,), tuple(range(1, 30))])
def test_a_batch_cut_anywhere_has_the_same_features_to_the_last_bit(cuts: tuple[int, ...]) -> None:
    random = np.random.default_rng(3)
    images = np.concatenate([noisy(light, random.integers(0, 80), 3.0) for light in MADE.values()])[:30]
    whole = measure_beams(images, SATURATED_AT)
    parts: list[Features] = [measure_beams(part, SATURATED_AT) for part in np.split(images, cuts)]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values, err_msg=name)
