"""The beam's features against known answers, an independent peer, and unusual frames."""

import warnings
from pathlib import Path

import laserbeamsize
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from shotwatch_physics.background import estimate_background
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.fluence import FLUENCE_FEATURES
from shotwatch_physics.noise import fit_noise
from shotwatch_physics.spots import SPOT_FEATURES
from shotwatch_shots.features.beam import BEAM_FEATURES

Images = NDArray[np.uint16]

SATURATED_AT = 4092
SHAPE = (102, 128)
BEAMS = Path(__file__).parents[2].parent / "shared" / "data" / "beams"
OF_THE_BEAM = {
    *("centroid_x", "centroid_y", "d4sigma_major", "d4sigma_minor", "orientation", "ellipticity"),
    *FLUENCE_FEATURES,
    *SPOT_FEATURES,
}

real_frames = pytest.mark.skipif(not BEAMS.is_dir(), reason=f"real frames are absent: no {BEAMS}")


def measure(images: Images) -> dict[str, NDArray[np.float64]]:
    return measure_beams(images, SATURATED_AT)


def radius_squared(
    shape: tuple[int, int], x: float, y: float, major: float, minor: float, orientation: float
) -> NDArray[np.float64]:
    """Squared distance from the centre in units of the half axes; orientation counter-clockwise as shown."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    right, up = column - x, y - row
    along = right * np.cos(orientation) + up * np.sin(orientation)
    across = up * np.cos(orientation) - right * np.sin(orientation)
    distance: NDArray[np.float64] = (along / major) ** 2 + (across / minor) ** 2
    return distance


def gaussian(
    x: float = 60.3,
    y: float = 48.8,
    major: float = 9.0,
    minor: float = 6.0,
    orientation: float = 0.4,
    peak: float = 3000.0,
    shape: tuple[int, int] = SHAPE,
) -> NDArray[np.float64]:
    """A Gaussian beam whose half axes are its standard deviations (px)."""
    return peak * np.exp(-radius_squared(shape, x, y, major, minor, orientation) / 2)


def recorded(
    light: NDArray[np.float64], background: float = 30.0, noise: float = 0.0, count: int = 1
) -> Images:
    """Frames as a 12-bit camera records them."""
    random = np.random.default_rng(7)
    frames = light + background + random.normal(0, noise, (count, *light.shape))
    return np.clip(np.round(frames), 0, SATURATED_AT).astype(np.uint16)


@pytest.mark.parametrize("background", [0.0, 30.0, 400.0])
@pytest.mark.parametrize("orientation", [-1.5, -0.6, 0.0, 0.4, 0.785, 1.2, np.pi / 2])
@pytest.mark.parametrize(
    ("x", "y", "major", "minor", "shape"),
    [(60.3, 48.8, 9.0, 6.0, SHAPE), (80.0, 40.0, 5.0, 2.5, SHAPE), (50.5, 90.25, 7.0, 3.0, (200, 110))],
)
def test_a_gaussian_beam_is_measured_as_it_was_made(
    x: float,
    y: float,
    major: float,
    minor: float,
    shape: tuple[int, int],
    orientation: float,
    background: float,
) -> None:
    light = gaussian(x, y, major, minor, orientation, shape=shape)
    features = measure(recorded(light, background))
    assert features["centroid_x"] == pytest.approx(x, abs=0.01)
    assert features["centroid_y"] == pytest.approx(y, abs=0.01)
    assert features["d4sigma_major"] == pytest.approx(4 * major, rel=2e-3)
    assert features["d4sigma_minor"] == pytest.approx(4 * minor, rel=2e-3)
    assert features["ellipticity"] == pytest.approx(minor / major, rel=3e-3)
    assert np.sin(features["orientation"] - orientation) == pytest.approx(0, abs=2e-3)
    assert features["total_intensity"] == pytest.approx(2 * np.pi * 3000 * major * minor, rel=1e-3)
    assert features["peak_intensity"] == pytest.approx(light.max(), abs=0.6)
    assert features["background"] == pytest.approx(background)


def test_the_width_of_an_evenly_lit_ellipse_is_its_diameter() -> None:
    light = np.where(radius_squared(SHAPE, 64, 50, 40, 25, 0.3) <= 1, 2000.0, 0.0)
    features = measure(recorded(light, noise=3.0))
    assert features["d4sigma_major"] == pytest.approx(80, rel=5e-3)
    assert features["d4sigma_minor"] == pytest.approx(50, rel=5e-3)


def test_noise_widens_no_beam() -> None:
    features = measure(recorded(gaussian(), noise=4.0, count=200))
    assert features["d4sigma_major"].mean() == pytest.approx(36, rel=3e-3)
    assert features["d4sigma_minor"].mean() == pytest.approx(24, rel=3e-3)
    assert features["d4sigma_major"].std() < 0.02 * 36
    assert features["centroid_x"].std() < 0.05
    assert features["background_noise"] == pytest.approx(4.0, rel=0.1)


def test_the_background_is_the_border_s_whatever_the_beam_and_single_pixels_do() -> None:
    frames = recorded(gaussian(), background=30.0, noise=3.0, count=100)
    frames[:, 0, ::40] = 4000
    frames[:, 30:45, -4:] = 500
    background = estimate_background(frames)
    assert background.level.mean() == pytest.approx(30.0, abs=0.05)
    assert background.noise.mean() == pytest.approx(3.0, abs=0.1)


def test_the_background_of_a_dark_camera_that_clips_at_zero_keeps_its_fraction() -> None:
    dark = np.maximum(np.random.default_rng(3).normal(0, 2, (100, *SHAPE)), 0)
    frames = np.round(dark).astype(np.uint16)
    assert estimate_background(frames).level.mean() == pytest.approx(frames.mean(), abs=0.05)


def test_light_too_faint_to_be_distinguished_from_noise_stays_outside_the_aperture() -> None:
    light = gaussian(30, 30, 3, 2)
    alone = measure(recorded(light))
    with_stray_light = measure(recorded(light + gaussian(100, 80, 8, 8, peak=5)))
    assert with_stray_light["total_intensity"] > alone["total_intensity"] + 1000
    assert with_stray_light["d4sigma_major"] == alone["d4sigma_major"]


def test_moving_a_beam_by_whole_pixels_moves_its_places_and_nothing_else() -> None:
    frame = recorded(gaussian())
    before, after = measure(frame), measure(np.roll(frame, (3, -5), axis=(1, 2)))
    shifts = {"centroid_x": -5, "centroid_y": 3, "spot_x": -5, "spot_y": 3, "hole_x": -5, "hole_y": 3}
    for feature in BEAM_FEATURES:
        shift = shifts.get(feature.name, 0)
        assert after[feature.name] - before[feature.name] == pytest.approx(shift, abs=1e-6)


def test_orientation_is_counter_clockwise_as_the_frame_is_shown() -> None:
    rising = np.zeros((1, 21, 21), np.uint16)
    rising[0, range(20, -1, -1), range(21)] = 1000
    rising[0, 0, :] = rising[0, -1, :] = rising[0, :, 0] = rising[0, :, -1] = 0
    assert measure(rising)["orientation"] == pytest.approx(np.pi / 4)
    assert measure(rising[:, ::-1])["orientation"] == pytest.approx(-np.pi / 4)


def test_an_upright_beam_stands_at_plus_a_right_angle() -> None:
    frame = np.zeros((1, 21, 21), np.uint16)
    frame[0, 5:15, 9] = 1000
    features = measure(frame)
    assert features["orientation"] == pytest.approx(np.pi / 2)
    assert features["d4sigma_minor"] == 0
    assert features["ellipticity"] == 0


def assert_agrees_with_peer(frame: Images, rel: float = 5e-3) -> None:
    """laserbeamsize on the same light above the same background: widths within 0.5 %, or `rel`."""
    features = measure(frame[None])
    above = frame - estimate_background(frame[None]).plane(*frame.shape)[0]
    x, y, major, minor, orientation = laserbeamsize.beam_size(above, corner_fraction=0)
    assert minor is not None
    assert features["d4sigma_major"] == pytest.approx(major, rel=rel)
    assert features["d4sigma_minor"] == pytest.approx(minor, rel=rel)
    assert features["centroid_x"] == pytest.approx(x, abs=5e-3 * major)
    assert features["centroid_y"] == pytest.approx(y, abs=5e-3 * major)
    if minor / major < 0.87:
        assert np.sin(features["orientation"] - orientation) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("orientation", [-1.0, 0.0, 0.5, 1.5])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_made_frames_agree_with_laserbeamsize(orientation: float, noise: float) -> None:
    assert_agrees_with_peer(recorded(gaussian(orientation=orientation), noise=noise)[0])


def binned(frame: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    height, width = (side // factor for side in frame.shape)
    cut = frame[: height * factor, : width * factor]
    means: NDArray[np.float64] = cut.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return means


@real_frames
def test_recorded_frames_of_one_laser_agree_with_laserbeamsize() -> None:
    files = sorted((BEAMS / "regime_change_1hz").glob("*.png"))
    assert len(files) == 63
    for file in files:
        counts = np.asarray(Image.open(file), dtype=np.float64)[:510, :640] / 16
        assert_agrees_with_peer(np.round(binned(counts, 5)).astype(np.uint16))


@real_frames
@pytest.mark.parametrize("name", ["t-hene.pgm", "t-480mm.pgm", "t-nolens.pgm"])
def test_recorded_single_lobed_frames_agree_with_laserbeamsize(name: str) -> None:
    assert_agrees_with_peer(np.asarray(Image.open(BEAMS / "lab_modes" / name), dtype=np.uint16))


@real_frames
def test_a_recorded_astigmatic_beam_agrees_with_laserbeamsize() -> None:
    frame = np.load(BEAMS / "lab_modes" / "astigmatic_beam_profile.npy") / 16
    # Its minor width is 59 px, and laserbeamsize stops when a step changes it by less than 1 px.
    assert_agrees_with_peer(np.round(frame).astype(np.uint16), rel=1e-2)


def test_dead_pixels_are_counted_where_light_is() -> None:
    frame = recorded(gaussian(major=20, minor=15), noise=3.0)
    assert measure(frame)["dead_pixels"] == 0
    frame[0, 49, 60] = 0
    assert measure(frame)["dead_pixels"] == 1
    frame[0, 5, 5] = 0
    assert measure(frame)["dead_pixels"] == 1


@pytest.mark.parametrize("line", [np.s_[0, 40:60, 62], np.s_[0, 50, 50:70]])
def test_a_dead_line_is_as_many_dead_pixels_as_it_has_in_the_light(line: tuple[int | slice, ...]) -> None:
    frame = recorded(gaussian(major=20, minor=15), noise=3.0)
    frame[line] = 0
    assert measure(frame)["dead_pixels"] == 20


def test_a_sharp_edge_is_not_dead() -> None:
    light = np.where(radius_squared(SHAPE, 64, 50, 40, 25, 0.3) <= 1, 2000.0, 0.0)
    light[:, 70:] = 0
    assert measure(recorded(light, noise=3.0))["dead_pixels"] == 0


def test_saturated_pixels_are_those_at_the_level_or_above() -> None:
    frame = np.zeros((1, 10, 12), np.uint16)
    frame[0, 3, 2:5] = 4091, 4092, 4095
    assert measure(frame)["saturated_pixels"] == 2


@pytest.mark.parametrize("level", [0, 30, 4092, 65535])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), SHAPE])
def test_an_even_frame_has_a_background_and_no_beam(level: int, shape: tuple[int, int]) -> None:
    features = measure(np.full((2, *shape), level, np.uint16))
    assert all(np.isnan(features[name]).all() for name in OF_THE_BEAM)
    assert (features["background"] == level).all()
    assert (features["background_noise"] == 0).all()
    assert (features["total_intensity"] == 0).all()
    assert (features["peak_intensity"] == 0).all()
    assert (features["dead_pixels"] == 0).all()
    assert (features["saturated_pixels"] == (np.prod(shape) if level >= SATURATED_AT else 0)).all()


@pytest.mark.parametrize(("background", "noise"), [(0, 1), (2, 3), (30, 3), (100, 20)])
def test_noise_alone_is_no_beam(background: float, noise: float) -> None:
    features = measure(recorded(np.zeros(SHAPE), background, noise, count=100))
    assert all(np.isnan(features[name]).all() for name in OF_THE_BEAM)


@given(
    shape=st.tuples(st.integers(3, 30), st.integers(3, 30)),
    place=st.tuples(st.integers(0, 29), st.integers(0, 29)),
    count=st.integers(10, 65535),
)
def test_light_on_a_single_pixel_has_a_place_and_no_width(
    shape: tuple[int, int], place: tuple[int, int], count: int
) -> None:
    row, column = place[0] % shape[0], place[1] % shape[1]
    frame = np.zeros((1, *shape), np.uint16)
    frame[0, row, column] = count
    features = measure(frame)
    assert features["centroid_x"] == column
    assert features["centroid_y"] == row
    assert features["d4sigma_major"] == features["d4sigma_minor"] == 0
    assert np.isnan(features["orientation"])
    assert np.isnan(features["ellipticity"])
    assert features["total_intensity"] == features["peak_intensity"] == count


frames = st.tuples(st.integers(0, 3), st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(np.uint16, shape, elements=st.sampled_from([0, 1, 29, 30, 31, 2000, 4092, 65535]))
)


@settings(max_examples=300)
@given(frames)
def test_any_frame_has_every_feature_in_its_range_or_no_beam_at_all(images: Images) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = measure(images)
    assert list(features) == [feature.name for feature in BEAM_FEATURES]
    for feature in BEAM_FEATURES:
        values = features[feature.name]
        assert values.shape == images.shape[:1]
        assert values.dtype == np.float64
        low, high = feature.range
        known = ~np.isnan(values)
        assert known.all() or feature.name in OF_THE_BEAM
        assert ((values[known] >= low) & (values[known] <= high)).all()
    without_beam = np.isnan(features["d4sigma_major"])
    for name in ("centroid_x", "centroid_y", "d4sigma_minor"):
        assert (np.isnan(features[name]) == without_beam).all()


@settings(max_examples=50)
@given(frames)
def test_with_a_noise_model_any_frame_has_its_fluence_or_none(images: Images) -> None:
    noise = fit_noise(np.full((10, *images.shape[1:]), 30, np.uint16))
    features = measure_beams(images, SATURATED_AT, noise)
    assert list(features) == [feature.name for feature in BEAM_FEATURES]
    for name in FLUENCE_FEATURES:
        assert (np.isnan(features[name]) == np.isnan(features["effective_area"])).all()


def test_a_camera_s_hot_pixels_are_no_light_once_its_noise_is_known() -> None:
    random = np.random.default_rng(5)
    dark = random.normal(30, 3, (70, *SHAPE)).round()
    dark[:, 20:22, 30:32] += 500
    frames = dark.astype(np.uint16)
    noise = fit_noise(frames[:50])
    assert np.isfinite(measure(frames[50:])["effective_area"]).all()
    assert np.isnan(measure_beams(frames[50:], SATURATED_AT, noise)["effective_area"]).all()
    assert np.isnan(measure_beams(frames[50:], SATURATED_AT, noise)["spot_excess"]).all()


def test_frames_of_another_shape_than_the_noise_are_refused() -> None:
    noise = fit_noise(np.full((10, 8, 9), 30, np.uint16))
    with pytest.raises(ValueError, match="noise's shape"):
        measure_beams(np.zeros((2, 9, 8), np.uint16), SATURATED_AT, noise)


@pytest.fixture(scope="module")
def measured_block() -> tuple[Images, dict[str, NDArray[np.float64]]]:
    block = mixed_block()
    return block, measure(block)


@given(start=st.integers(0, 59), count=st.integers(1, 60))
def test_a_frame_s_features_do_not_depend_on_its_neighbours(
    measured_block: tuple[Images, dict[str, NDArray[np.float64]]], start: int, count: int
) -> None:
    block, whole = measured_block
    part = measure(block[start : start + count])
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][start : start + count])


def mixed_block() -> Images:
    """60 frames: bright, faint, small and turned beams, dark ones and a saturated one."""
    return np.concatenate(
        [
            recorded(gaussian(), noise=3.0, count=15),
            recorded(gaussian(peak=60), noise=3.0, count=15),
            recorded(gaussian(90.2, 30.1, 2, 1.5, 1.1, peak=400), noise=8.0, count=14),
            recorded(np.zeros(SHAPE), noise=3.0, count=15),
            recorded(gaussian(peak=9000)),
        ]
    )


@pytest.mark.parametrize(
    "images",
    [np.zeros((4, 4), np.uint16), np.zeros((1, 4, 4)), np.zeros((1, 0, 4), np.uint16)],
    ids=["one frame", "not counts", "no pixels"],
)
def test_what_are_not_frames_is_refused(images: Images) -> None:
    with pytest.raises(ValueError, match="frames must be"):
        measure(images)
