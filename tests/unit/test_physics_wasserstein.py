"""The sliced 1-Wasserstein distance against POT, known answers, and unusual frames."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from shotwatch_physics.wasserstein import (
    Light,
    distance_matrix,
    distances_to,
    equispaced_angles,
    make_slices,
    random_angles,
)

BEAMS = Path(__file__).resolve().parents[3] / "shared" / "data" / "beams" / "regime_change_1hz"
SHAPE = (7, 9)
ANGLES = equispaced_angles(12)
SLICES = make_slices(SHAPE, ANGLES)

Floats = NDArray[np.float64]

lights = arrays(np.float64, SHAPE, elements=st.just(0.0) | st.floats(1e-6, 1e6)).filter(np.any)


@pytest.fixture(scope="module")
def ot() -> ModuleType:
    """POT, without the frameworks that it could compute with."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("POT_BACKEND_DISABLE_TENSORFLOW", "1")
        import ot

        return ot


@pytest.fixture(scope="module")
def recorded() -> NDArray[np.uint16]:
    """Recorded frames before and after the regime changes, binned, without their darkest count."""
    if not BEAMS.is_dir():
        pytest.skip("../shared/data/beams is absent")
    frames = []
    for path in sorted(BEAMS.glob("*.png"))[::16]:
        with Image.open(path) as image:
            frames.append(np.array(image)[15:525, 40:680].reshape(102, 5, 128, 5).mean(axis=(1, 3)))
    return np.array([frame - frame.min() for frame in frames]).round().astype(np.uint16)


def beam(x: float, y: float, sigma: float = 4.0, shape: tuple[int, int] = (40, 50)) -> Floats:
    rows, columns = np.indices(shape)
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def noisy_frames(count: int, shape: tuple[int, int] = SHAPE) -> Floats:
    return np.random.default_rng(count).exponential(size=(count, *shape))


def pixel(x: int, y: int) -> Floats:
    frame = np.zeros(SHAPE)
    frame[y, x] = 3.5
    return frame


def distance(one: Light, other: Light, angles: Floats = ANGLES) -> float:
    return float(distances_to(one, other[None], make_slices((one.shape[0], one.shape[1]), angles))[0])


def matrix_of_pair(one: Light, other: Light, angles: Floats) -> float:
    return float(distance_matrix(np.stack([one, other]), angles)[0, 1])


def assert_agrees_with_pot(ot: ModuleType, one: Light, other: Light, angles: Floats) -> None:
    y, x = np.indices(one.shape).reshape(2, -1).astype(np.float64)
    points, directions = np.stack([x, y], axis=1), np.stack([np.cos(angles), np.sin(angles)])
    masses = [frame.ravel() / frame.sum(dtype=np.float64) for frame in (one, other)]
    for angle, line in zip(angles, (points @ directions).T, strict=True):
        expected = ot.wasserstein_1d(line, line, *masses, p=1)
        assert matrix_of_pair(one, other, np.array([angle])) == pytest.approx(expected, abs=1e-12)
    mean = ot.sliced_wasserstein_distance(points, points, *masses, projections=directions, p=1)
    assert matrix_of_pair(one, other, angles) == pytest.approx(mean, abs=1e-9)
    assert distance(one, other, angles) == pytest.approx(mean, abs=1e-9)


def exact_distance(one: NDArray[np.uint16], other: NDArray[np.uint16], angle: float) -> float:
    """In whole numbers and fractions, which do not round; only the places on the line are float64."""
    y, x = np.indices(one.shape).reshape(2, -1)
    line = np.cos(angle) * x + np.sin(angle) * y
    order = np.argsort(line)
    places = list(map(Fraction, line[order].tolist()))
    light, other_light = int(one.sum()), int(other.sum())
    surplus = other.ravel()[order].astype(int) * light - one.ravel()[order].astype(int) * other_light
    ahead = np.cumsum(surplus).tolist()
    work = sum(abs(n) * (after - before) for n, (before, after) in zip(ahead, pairwise(places), strict=False))
    return float(work / (light * other_light))


BEAM_PAIRS = [
    (beam(20, 15), beam(22.5, 15)),
    (beam(20, 15), beam(20, 15, 6.0)),
    (beam(20, 15), noisy_frames(1, (40, 50))[0]),
]


@pytest.mark.parametrize(("one", "other"), BEAM_PAIRS)
def test_distances_of_generated_frames_agree_with_pot(ot: ModuleType, one: Floats, other: Floats) -> None:
    assert_agrees_with_pot(ot, one, other, np.append(equispaced_angles(4), random_angles(4, 1)))


def test_distances_of_recorded_frames_agree_with_pot(ot: ModuleType, recorded: NDArray[np.uint16]) -> None:
    for other in recorded[1:]:
        assert_agrees_with_pot(ot, recorded[0], other, np.append(equispaced_angles(3), random_angles(2, 1)))


@pytest.mark.parametrize("angle", [0.0, 1.0, np.pi / 2, 3.0])
def test_distances_of_recorded_frames_are_exact(recorded: NDArray[np.uint16], angle: float) -> None:
    """Where POT's own cumulative sums are off by 2e-12 px."""
    expected = exact_distance(recorded[0], recorded[1], angle)
    assert distance(recorded[0], recorded[1], np.array([angle])) == pytest.approx(expected, abs=1e-13)


@given(k=st.integers(-15, 15), slices=st.integers(1, 40))
def test_a_frame_moved_along_x_is_as_far_as_it_moved_on_the_mean_line(k: int, slices: int) -> None:
    angles = equispaced_angles(slices)
    frame = np.zeros((40, 50))
    frame[12:30, 20:30] = noisy_frames(1, (18, 10))[0]
    moved = np.roll(frame, k, axis=1)
    assert distance(frame, moved, angles) == pytest.approx(abs(k) * np.abs(np.cos(angles)).mean())


@given(*[st.integers(0, side - 1) for side in (9, 7, 9, 7)])
def test_single_pixels_are_as_far_as_they_lie_apart_on_the_mean_line(x: int, y: int, u: int, v: int) -> None:
    expected = np.abs((u - x) * np.cos(ANGLES) + (v - y) * np.sin(ANGLES)).mean()
    assert distance(pixel(x, y), pixel(u, v)) == pytest.approx(expected, abs=1e-14)


def test_over_all_directions_a_line_shows_two_over_pi_of_a_way() -> None:
    frames = beam(20, 15), beam(23, 19)
    assert distance(*frames, equispaced_angles(64)) == pytest.approx(5 * 2 / np.pi, rel=1e-3)
    assert distance(*frames, random_angles(3000, 0)) == pytest.approx(5 * 2 / np.pi, rel=0.05)


@given(lights, lights, lights)
def test_it_is_a_metric(a: Floats, b: Floats, c: Floats) -> None:
    frames = np.array([a, b, c])
    apart = distance_matrix(frames, ANGLES)
    assert (apart >= 0).all()
    assert not apart.diagonal().any()
    np.testing.assert_array_equal(apart, apart.T)
    assert apart[0, 2] <= apart[0, 1] + apart[1, 2] + 1e-12
    assert distance(a, a) == 0


@given(lights, lights, st.floats(1e-3, 1e3))
def test_it_does_not_depend_on_how_much_light_there_is(a: Floats, b: Floats, factor: float) -> None:
    assert distance(factor * a, b) == pytest.approx(distance(a, b), abs=1e-10)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e300, 1.7e308])
def test_light_may_be_as_faint_or_bright_as_numbers_go(scale: float) -> None:
    faint = np.sign(pixel(1, 1)) * scale
    assert distance(faint, pixel(4, 1)) == pytest.approx(3 * np.abs(np.cos(ANGLES)).mean())
    assert distance(np.full(SHAPE, scale), np.ones(SHAPE)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint64, np.float32])
def test_counts_of_any_kind_give_one_distance(kind: type[np.generic]) -> None:
    frames = np.random.default_rng(2).integers(0, 200, (3, *SHAPE))
    np.testing.assert_array_equal(
        distance_matrix(frames.astype(kind), ANGLES), distance_matrix(frames.astype(np.float64), ANGLES)
    )


def test_distances_to_a_reference_are_a_row_of_the_matrix() -> None:
    frames = noisy_frames(45)
    row = distance_matrix(frames, ANGLES)[7]
    np.testing.assert_allclose(distances_to(frames[7], frames, SLICES), row, rtol=0, atol=1e-13)


@given(start=st.integers(0, 99), count=st.integers(1, 100))
def test_a_frame_s_distance_does_not_depend_on_its_neighbours(start: int, count: int) -> None:
    block = noisy_frames(100)
    whole = distances_to(block[0], block, SLICES)
    part = distances_to(block[0], block[start : start + count], SLICES)
    np.testing.assert_array_equal(part, whole[start : start + count])


def test_a_pair_s_distance_depends_on_no_other_frame_and_on_no_number_of_threads() -> None:
    frames, angles = noisy_frames(6), random_angles(300, 3)
    threads = numba.get_num_threads()
    try:
        results = []
        for number in {1, threads}:
            numba.set_num_threads(number)
            results.append(distance_matrix(frames, angles))
    finally:
        numba.set_num_threads(threads)
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    np.testing.assert_array_equal(distance_matrix(frames[2:4], angles), results[0][2:4, 2:4])


def test_progress_is_reported_every_slice() -> None:
    done: list[int] = []
    slices = 3 * numba.get_num_threads()
    distance_matrix(noisy_frames(1100, (1, 2)), equispaced_angles(slices), done.append)
    assert len(done) > 1
    assert sum(done) == slices


@pytest.mark.parametrize("anomalous", [0.0, np.nan, np.inf, -np.inf])
def test_a_frame_without_light_or_with_a_pixel_that_is_no_number_has_no_distance(anomalous: float) -> None:
    frames = noisy_frames(3)
    frames[1] = 0
    frames[1, 2, 3] = anomalous
    apart = distance_matrix(frames, ANGLES)
    assert np.isnan(apart[1, [0, 2]]).all()
    assert apart[0, 2] == distance_matrix(frames[[0, 2]], ANGLES)[0, 1]
    assert list(np.isnan(distances_to(frames[0], frames, SLICES))) == [False, True, False]
    assert np.isnan(distances_to(frames[1], frames, SLICES)).all()


def test_a_frame_of_one_pixel_is_nowhere_but_there() -> None:
    assert distance_matrix(np.array([[[3.0]], [[5.0]]]), ANGLES).tolist() == [[0, 0], [0, 0]]


def test_no_frames_have_no_distances() -> None:
    assert distance_matrix(np.zeros((0, *SHAPE)), ANGLES).shape == (0, 0)
    assert distances_to(pixel(0, 0), np.zeros((0, *SHAPE)), SLICES).shape == (0,)


def test_negative_light_is_refused() -> None:
    frames = noisy_frames(2) - 0.5
    with pytest.raises(ValueError, match="never negative"):
        distance_matrix(frames, ANGLES)
    with pytest.raises(ValueError, match="never negative"):
        distances_to(pixel(0, 0), frames, SLICES)


@pytest.mark.parametrize(
    "frames", [np.ones(SHAPE), np.ones((2, 0, 5)), np.ones((1, 2, 3, 4)), np.ones((2, *SHAPE), complex)]
)
def test_what_is_no_stack_of_frames_is_refused(frames: Light) -> None:
    with pytest.raises(ValueError, match="frames must be"):
        distance_matrix(frames, ANGLES)


@pytest.mark.parametrize(("reference", "frames"), [(SHAPE, (2, 9, 7)), ((9, 7), (2, *SHAPE)), (SHAPE, SHAPE)])
def test_frames_of_another_shape_than_the_slices_are_refused(
    reference: tuple[int, ...], frames: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="slices for"):
        distances_to(np.ones(reference), np.ones(frames), SLICES)


@pytest.mark.parametrize("angles", [np.array([]), np.array([[0.0]]), np.array([np.nan])])
def test_angles_must_be_numbers(angles: Floats) -> None:
    with pytest.raises(ValueError, match="angles must be"):
        distance_matrix(noisy_frames(2), angles)


def test_equispaced_angles_begin_along_x_and_end_before_it_again() -> None:
    np.testing.assert_allclose(equispaced_angles(4), np.radians([0, 45, 90, 135]))
    assert len(equispaced_angles()) == 64


def test_random_angles_are_those_of_their_seed_in_the_half_circle() -> None:
    angles = random_angles(1000, 5)
    np.testing.assert_array_equal(angles, random_angles(1000, 5))
    assert (angles != random_angles(1000, 6)).any()
    assert ((angles >= 0) & (angles < np.pi)).all()
    assert angles.mean() == pytest.approx(np.pi / 2, abs=0.1)
