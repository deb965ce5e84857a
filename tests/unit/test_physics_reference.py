"""The usual image of a camera's beam, and how far a frame is from that."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shotwatch_physics.noise import fit_noise
from shotwatch_physics.reference import Reference, make_reference, measure_in_detail, pointing

HEIGHT, WIDTH = 60, 80
X, Y = 38.0, 30.0


def beams(count: int, seed: int, x: float = X, y: float = Y, jitter: float = 0.3) -> NDArray[np.uint16]:
    """Frames of a beam with a core and a halo that wander together, with photon and read noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((HEIGHT, WIDTH))
    across = columns - x - random.normal(0, jitter, (count, 1, 1))
    down = rows - y - random.normal(0, jitter, (count, 1, 1))
    light = 1500 * np.exp(-(across**2 / 50 + down**2 / 30)) + 400 * np.exp(
        -((across - 6) ** 2 + down**2) / 300
    )
    return np.clip(20 + random.poisson(light) + random.normal(0, 2, light.shape), 0, 4092).astype(np.uint16)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return make_reference(beams(40, seed=1), noise=None)


def test_the_profile_is_the_mean_of_frames_that_count_the_same(reference: Reference) -> None:
    assert reference.profile.shape == (HEIGHT, WIDTH)
    assert reference.profile.sum() == pytest.approx(1, rel=1e-5)
    assert np.unravel_index(reference.profile.argmax(), reference.profile.shape) == pytest.approx(
        (Y, X), abs=1
    )


def test_a_normal_frame_is_near_its_reference_and_a_moved_one_as_far_as_it_was_moved(
    reference: Reference,
) -> None:
    baselines, moved = (
        measure_in_detail(beams(1, seed=2, x=x, jitter=0.0), None, reference)["distance_to_reference"][0]
        for x in (X, X + 4)
    )
    assert baselines < 0.3
    mean_of_all_directions = 4 * 2 / np.pi
    assert moved == pytest.approx(mean_of_all_directions, rel=0.1)


def test_pointing_is_the_way_from_the_reference_to_the_centroid(reference: Reference) -> None:
    reported = pointing(reference.centroid + np.array([[3.0, -4.0]]), reference)
    assert {name: values[0] for name, values in reported.items()} == pytest.approx(
        {"pointing_x": 3, "pointing_y": -4, "pointing": 5}
    )


def test_frames_of_the_reference_period_lie_about_the_middle_of_the_plane(reference: Reference) -> None:
    points = measure_in_detail(beams(40, seed=1), None, reference)
    for name in ("component1", "component2"):
        assert abs(np.nanmedian(points[name])) < np.nanstd(points[name])


def test_without_a_reference_or_with_one_of_another_shape_nothing_is_compared(reference: Reference) -> None:
    frames = beams(2, seed=3)
    for reported in (
        measure_in_detail(frames, None, None),
        measure_in_detail(frames[:, :50], None, reference),
    ):
        assert np.isfinite(reported["gaussian_fit_error"]).all()
        assert not reported.keys() & {"component1", "component2", "distance_to_reference"}


def test_a_noise_model_takes_a_hot_pixel_out_of_the_reference() -> None:
    dark = np.random.default_rng(4).normal(20, 2, (20, HEIGHT, WIDTH)).astype(np.uint16)
    frames = beams(30, seed=5)
    dark[:, 5, 5] += 900
    frames[:, 5, 5] += 900
    assert (
        make_reference(frames, fit_noise(dark)).profile[5, 5]
        == 0
        < make_reference(frames, None).profile[5, 5]
    )


def test_a_reference_survives_being_stored(reference: Reference) -> None:
    read = Reference.from_npz(reference.to_npz())
    np.testing.assert_array_equal(read.profile, reference.profile)
    np.testing.assert_array_equal(read.components.axes, reference.components.axes)
    np.testing.assert_array_equal(read.gaussians, reference.gaussians)


@pytest.mark.parametrize("damage", [b"", b"no file", "cut"])
def test_what_is_no_reference_is_refused(damage: bytes | str, reference: Reference) -> None:
    data = reference.to_npz()[:-400] if isinstance(damage, str) else damage
    with pytest.raises(ValueError, match="not a stored reference"):
        Reference.from_npz(data)


def test_dark_frames_make_no_reference() -> None:
    with pytest.raises(ValueError, match="at least 20 fits"):
        make_reference(np.full((30, HEIGHT, WIDTH), 20, np.uint16), None)
