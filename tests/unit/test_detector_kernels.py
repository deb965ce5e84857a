"""The compiled scores are those of plain NumPy, of whatever frames and in batches of every size."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from shotwatch_common.turns import SLICE
from shotwatch_detector.arrays import Features, Frames, Images
from shotwatch_detector.decision import judge
from shotwatch_detector.fine_structure import measure_structure, no_fine_maps
from shotwatch_detector.frames import SMALLEST_GAIN, ReferenceFrame, make_reference, normalise
from shotwatch_detector.residuals import ResidualMap, measure_deviations, smooth
from shotwatch_detector.scoring import FRAMES_AT_ONCE, CameraReference, learn_camera, score_frames
from shotwatch_detector.statistics import measure_baseline
from shotwatch_detector.thresholds import ONE_AN_HOUR
from shotwatch_shots.features.catalogue import INDICATORS
from tests.support import detector_reference

SHAPE = (102, 128)
RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "beams" / "regime_change_1hz"
MAX = np.iinfo(np.uint16).max

RELATIVE, RELATIVE_HOSTILE = 1e-5, 1e-3
"""Tolerances of every statistic, of its size.

The second one is for frames with counts up to 65,535 everywhere: plain NumPy adds 13,056 of them in 32 bits.
"""
ABSOLUTE = {
    "residual": 1e-3,
    "structure": 2e-4,
    **dict.fromkeys(
        (f"{of}{side}" for of in ("", "pixel_", "column_", "row_") for side in ("excess", "deficit")), 1e-3
    ),
    "hot_spot": 1e-3,
    "dark_spot": 1e-3,
}
"""Tolerances of statistics near zero: pixels of full brightness, then standard deviations.

The least standard deviation of a pixel is that of rounding to whole counts, 1e-4 of the peak of the recorded
frames. 32-bit numbers near 1 end at 6e-8, so one rounding of a full frame is a deviation of 6e-4.
"""
ABSOLUTE_SIZE = 2e-6
"""Tolerance of the size of an excess or a deficit near zero, in shares of the reference's peak."""


class Blur:
    """An engine whose reconstruction is a blurred image."""

    def reconstruct(self, images: Images) -> Images:
        return detector_reference.smooth(detector_reference.smooth(images))


def beams(count: int, seed: int) -> Frames:
    """Beams that move, with shot-to-shot energy and noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    x, y = random.normal(64, 0.3, (count, 1, 1)), random.normal(51, 0.3, (count, 1, 1))
    peak = 2500 * random.normal(1, 0.03, (count, 1, 1))
    light = peak * np.exp(-(((columns - x) / 25) ** 4) - ((rows - y) / 20) ** 4)
    return (light + random.normal(40, 12, light.shape)).round().clip(0, 4092).astype(np.uint16)


def learnt(frames: Frames) -> CameraReference:
    reference = make_reference(frames)
    assert reference is not None
    return learn_camera(frames, reference, Blur())


@pytest.fixture(scope="module")
def camera() -> CameraReference:
    return learnt(beams(200, seed=1))


def filled(counts: int) -> Frames:
    return np.full((2, *SHAPE), counts, np.uint16)


def with_a_lit_pixel(counts: int) -> Frames:
    frames = filled(0)
    frames[:, 40, 50] = counts
    return frames


HOSTILE: dict[str, Callable[[], Frames]] = {
    "black": lambda: filled(0),
    "constant": lambda: filled(7),
    "saturated": lambda: filled(4092),
    "one lit pixel": lambda: with_a_lit_pixel(MAX),
    "noise of the full range": lambda: np.random.default_rng(5).integers(0, MAX, (5, *SHAPE), np.uint16),
    "dark noise": lambda: np.random.default_rng(6).normal(40, 12, (5, *SHAPE)).clip(0).astype(np.uint16),
    "inverted beams": lambda: MAX - beams(3, seed=7),
    "moved beams": lambda: np.roll(beams(3, seed=8), 9, axis=2),
    "clipped beams": lambda: np.minimum(beams(3, seed=9), 900),
    "faint beams": lambda: beams(3, seed=10) // 100,
}


def assert_equal_scores(found: Features, expected: Features, relative: float = RELATIVE) -> None:
    """Fail if a statistic is not within its tolerance, or an extreme lies at another pixel."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        absolute = 0 if name.endswith(("_x", "_y")) else ABSOLUTE.get(name, ABSOLUTE_SIZE)
        np.testing.assert_allclose(found[name], values, rtol=relative, atol=absolute, err_msg=name)


def assert_as_in_numpy(frames: Frames, camera: CameraReference, relative: float = RELATIVE) -> None:
    expected = detector_reference.score_frames(frames, camera, Blur())
    assert_equal_scores(score_frames(frames, camera, Blur()), expected, relative)


def test_scores_of_made_frames_are_those_of_plain_numpy(camera: CameraReference) -> None:
    assert_as_in_numpy(beams(60, seed=2), camera)


@pytest.mark.parametrize("name", HOSTILE)
def test_scores_of_hostile_frames_are_those_of_plain_numpy(name: str, camera: CameraReference) -> None:
    assert_as_in_numpy(HOSTILE[name](), camera, RELATIVE_HOSTILE)


@pytest.mark.parametrize("name", [*HOSTILE, "brightest"])
def test_hostile_frames_are_fitted_as_by_least_squares_in_64_bits(name: str, camera: CameraReference) -> None:
    frames, reference = HOSTILE.get(name, lambda: filled(MAX))(), camera.reference
    terms = np.column_stack([reference.image.ravel(), np.ones(reference.image.size)]).astype(np.float64)
    counts = frames.reshape(len(frames), -1).astype(np.float64)
    gain, offset = np.linalg.lstsq(terms, counts.T)[0][..., np.newaxis]
    gain = np.maximum(gain, SMALLEST_GAIN * reference.peak)
    found = normalise(frames, reference)
    np.testing.assert_allclose(found.brightness, gain[:, 0] / reference.peak, rtol=1e-9)
    expected = ((counts - offset) / gain).reshape(frames.shape)
    np.testing.assert_allclose(found.images, expected, rtol=1e-6, atol=2e-7 * MAX / gain.min())


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"recorded frames are absent: no {RECORDED}")
def test_scores_of_recorded_frames_are_those_of_plain_numpy() -> None:
    raw = np.array([np.asarray(Picture.open(path)) for path in sorted(RECORDED.glob("*.png"))])
    cropped = raw[:, 15:525, 40:680].astype(float) / 64
    frames = cropped.reshape(len(raw), 102, 5, 128, 5).mean(axis=(2, 4)).round().astype(np.uint16)
    assert_as_in_numpy(frames, learnt(frames[:40]))


def test_no_score_moves_by_more_than_a_thousandth_of_the_threshold(camera: CameraReference) -> None:
    spot = np.zeros(SHAPE)
    spot[60:63, 70:73] = 1
    energies = np.linspace(0, 400, 60)[:, np.newaxis, np.newaxis]
    frames = (beams(60, seed=3) + (energies * spot)).astype(np.uint16)
    normal = detector_reference.score_frames(beams(300, seed=4), camera, Blur())
    references = {
        name: measure_baseline(values[:150], values[150:], INDICATORS[name], 250)
        for name, values in normal.items()
        if name in INDICATORS
    }
    baselines = {"camera": {name: reference for name, reference in references.items() if reference}}

    def judged(scores: Features) -> np.ndarray:
        return judge("here", {"camera": scores}, baselines, len(frames)).score

    expected = judged(detector_reference.score_frames(frames, camera, Blur()))
    threshold = ONE_AN_HOUR.score
    assert expected.min() < threshold < expected.max()
    found = judged(score_frames(frames, camera, Blur()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * threshold)


@pytest.mark.parametrize("cut", [1, 2, 13, FRAMES_AT_ONCE, FRAMES_AT_ONCE + 1, 69])
def test_scores_do_not_depend_on_where_a_batch_is_cut(cut: int, camera: CameraReference) -> None:
    frames = beams(70, seed=11)
    together = score_frames(frames, camera, Blur())
    parts = [score_frames(part, camera, Blur()) for part in (frames[:cut], frames[cut:])]
    assert_equal_scores({name: np.concatenate([part[name] for part in parts]) for name in together}, together)


def test_scores_in_the_slices_of_the_service_are_the_same_to_the_last_bit(camera: CameraReference) -> None:
    frames = beams(SLICE + 8, seed=13)
    together = score_frames(frames, camera, Blur())
    parts = [score_frames(part, camera, Blur()) for part in (frames[:SLICE], frames[SLICE:])]
    for name, values in together.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


def test_what_is_compiled_does_not_depend_on_the_batch_at_all(camera: CameraReference) -> None:
    frames, reference = beams(20, seed=12), camera.reference
    together, alone = normalise(frames, reference), normalise(frames[7:8], reference)
    assert (alone.images == together.images[7:8]).all()
    assert alone.brightness == together.brightness[7]
    blurred = Blur().reconstruct(together.images)
    of_all, of_one = (
        measure_deviations(together.images[part], blurred[part], camera.residuals)
        for part in (slice(None), slice(7, 8))
    )
    assert (of_one.integral, of_one.rms) == (of_all.integral[7], of_all.rms[7])
    for name in ("highest", "lowest"):
        one, among = getattr(of_one.extremes, name), getattr(of_all.extremes, name)
        assert (one.deviation, one.x, one.y) == (among.deviation[7], among.x[7], among.y[7])


def test_frames_score_the_same_in_whatever_memory_they_lie(camera: CameraReference) -> None:
    frames = beams(6, seed=13)
    expected = score_frames(frames, camera, Blur())
    locked = frames.copy()
    locked.flags.writeable = False
    spread = np.repeat(frames, 2, axis=2)[:, :, ::2]
    for same in (locked, spread, np.asfortranarray(frames)):
        assert_equal_scores(score_frames(same, camera, Blur()), expected)


def test_frames_of_another_shape_are_refused(camera: CameraReference) -> None:
    with pytest.raises(ValueError, match=r"frames \(3, 60, 61\) do not fit a reference \(102, 128\)"):
        score_frames(np.zeros((3, 60, 61), np.uint16), camera, Blur())


def test_images_of_another_shape_than_the_expected_ones_are_refused(camera: CameraReference) -> None:
    images = np.zeros((2, *SHAPE), np.float32)
    for expected in (images[:1], images[:, :60]):
        with pytest.raises(ValueError, match="should be"):
            measure_deviations(images, expected, camera.residuals)


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(shapes, st.integers(0, 2**32 - 1), st.integers(1, MAX))
def test_frames_of_every_shape_are_normalised_as_in_numpy(
    shape: tuple[int, int], seed: int, peak: int
) -> None:
    random = np.random.default_rng(seed)
    image = random.random(shape, np.float32)
    reference = ReferenceFrame(image - image.min() + np.eye(*shape, dtype=np.float32), float(peak))
    frames = random.integers(0, peak, (3, *shape), np.uint16, endpoint=True)
    if image.size == 1:  # no offset and gain can be fitted to a single pixel
        return
    found, (images, brightness) = (
        normalise(frames, reference),
        detector_reference.normalise(frames, reference),
    )
    np.testing.assert_allclose(found.brightness, brightness, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.images, images, rtol=1e-3, atol=1e-3)


@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e6]))
def test_residuals_of_every_shape_are_measured_as_in_numpy(
    shape: tuple[int, int], seed: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    images, expected = random.normal(0, scale, (2, 3, *shape)).astype(np.float32)
    residual_map = ResidualMap(
        random.normal(0, 0.01, shape).astype(np.float32), random.uniform(0.002, 0.1, shape).astype(np.float32)
    )
    np.testing.assert_allclose(
        smooth(images), detector_reference.smooth(images), rtol=1e-5, atol=1e-6 * scale
    )
    found = measure_deviations(images, expected, residual_map)
    with_fine, _ = measure_structure(images, expected, residual_map, no_fine_maps(*shape))
    np.testing.assert_equal(asdict(with_fine), asdict(found))
    residuals = images - expected
    deviations = detector_reference.deviations(residuals, residual_map).reshape(3, -1)
    near = {"rtol": 1e-5, "atol": 1e-6 * max(1.0, float(np.abs(deviations).max()))}
    np.testing.assert_allclose(found.integral, np.abs(residuals).sum(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.rms, np.sqrt(np.square(deviations).mean(axis=1)), **near)
    both = found.extremes
    for extreme, value in ((both.highest, deviations.max(axis=1)), (both.lowest, deviations.min(axis=1))):
        np.testing.assert_allclose(extreme.deviation, value, **near)
        pixels = (extreme.y * shape[1] + extreme.x).astype(int)
        np.testing.assert_allclose(deviations[np.arange(3), pixels], value, **near)


@pytest.mark.parametrize("other", [(2, 9), (8, 3), (8, 9)])
def test_of_equal_extremes_the_first_one_by_row_then_column_counts(other: tuple[int, int]) -> None:
    residuals, shape = np.zeros((2, 11, 14), np.float32), (11, 14)
    residuals[0, 2, 4] = residuals[0][other] = 1
    flat = ResidualMap(np.zeros(shape, np.float32), np.ones(shape, np.float32))
    residuals[1] = -residuals[0]
    found = measure_deviations(residuals, np.zeros_like(residuals), flat)
    assert (found.extremes.highest.y[0], found.extremes.highest.x[0]) == (2, 4)
    assert (found.extremes.lowest.y[1], found.extremes.lowest.x[1]) == (2, 4)
