"""The three Gaussians against known answers, numerical derivatives, scipy's curve_fit, and unusual frames."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import curve_fit

from shotwatch_physics.background import estimate_background
from shotwatch_physics.gaussian_model import light_and_centroid, residual_equations
from shotwatch_physics.gaussian_search import NARROWEST, bounds
from shotwatch_physics.gaussians import PARAMETER_NAMES, Fits, cold_starts, crop, fit_gaussians

pytestmark = pytest.mark.slow

Floats = NDArray[np.float64]
Light = NDArray[np.float32]

SHAPE = (102, 128)
RECORDED = Path(__file__).parents[2].parent / "shared" / "data" / "beams" / "regime_change_1hz"
EVERY = 9
"""Of the 63 recorded frames one in so many is also given to curve_fit, which takes its time."""

APART = np.array([900, 40, 35, 9, 7, 700, 85, 40, 6, 8, 500, 60, 75, 5, 4], np.float64)
WITHIN_EACH_OTHER = np.array([600, 60, 50, 14, 11, 900, 64, 53, 6, 7, 500, 52, 44, 4, 5], np.float64)


def image(parameters: Floats, shape: tuple[int, int] = SHAPE, corner: tuple[int, int] = (0, 0)) -> Floats:
    rows, columns = np.indices(shape)
    gaussians = parameters.reshape(3, 5, 1, 1)
    amplitude, x, y, sigma_x, sigma_y = gaussians.swapaxes(0, 1)
    along_x, along_y = (columns + corner[0] - x) / sigma_x, (rows + corner[1] - y) / sigma_y
    made: Floats = (amplitude * np.exp(-(along_x**2 + along_y**2) / 2)).sum(axis=0)
    return made


def counted(parameters: Floats, count: int = 1, seed: int = 1) -> Light:
    """Frames with photon noise, one photon a count, and no other noise."""
    random = np.random.default_rng(seed)
    return random.poisson(image(parameters), (count, *SHAPE)).astype(np.float32)


def random_beams(count: int) -> Light:
    """Frames of three Gaussians anywhere, with photon and read noise that is cut off below."""
    random = np.random.default_rng(5)
    low, high = [200, 30, 30, 3, 3], [1500, 98, 72, 12, 12]
    beams = [image(random.uniform(low * 3, high * 3)) for _ in range(count)]
    frames = random.poisson(beams) + random.normal(0, 3, (count, *SHAPE))
    return np.where(frames < 15, 0, frames).astype(np.float32)


def recorded_light() -> Light:
    """The recorded sequence cropped and binned to 102 x 128 pixels of 12 bit, freed of its background."""
    if not RECORDED.is_dir():
        pytest.skip(f"real frames are absent: no {RECORDED}")
    files = sorted(RECORDED.glob("*.png"))
    counts = np.stack([np.asarray(Image.open(file))[:510, :640] for file in files]) / 16
    frames = np.round(counts.reshape(-1, 102, 5, 128, 5).mean(axis=(2, 4))).astype(np.uint16)
    background = estimate_background(frames)
    lit = frames > background.faintest_light[:, None, None]
    return np.where(lit, frames - background.level[:, None, None], 0).astype(np.float32)


def jacobian(parameters: Floats) -> Floats:
    """By central differences: (h w, 15)."""
    steps = np.diag(1e-5 * np.maximum(1, np.abs(parameters)))
    columns = [
        (image(parameters + step) - image(parameters - step)).ravel() / (2 * step.max()) for step in steps
    ]
    return np.stack(columns, axis=1)


def squares(fits: Fits, light: Light) -> Floats:
    """Σ (frame - model)² of each frame, from the images of the models."""
    models = [image(parameters, light.shape[1:]) for parameters in fits.parameters]
    sums: Floats = ((light - np.array(models)) ** 2).sum(axis=(1, 2))
    return sums


@pytest.mark.parametrize("parameters", [APART, WITHIN_EACH_OTHER])
def test_the_normal_equations_are_those_of_numerical_differences(parameters: Floats) -> None:
    frame = counted(parameters * 1.03)[0].astype(np.float64)
    corner = np.zeros(2)
    change, slope, normal, hessian = residual_equations(frame, corner, parameters)
    residual, derivatives = frame - image(parameters), jacobian(parameters)
    scale = np.sqrt(np.diag(normal))
    assert change == pytest.approx((residual**2).sum() - (frame**2).sum())
    np.testing.assert_allclose((normal - derivatives.T @ derivatives) / np.outer(scale, scale), 0, atol=1e-7)
    np.testing.assert_allclose((slope - derivatives.T @ residual.ravel()) / scale, 0, atol=1e-3)
    steps = np.diag(1e-5 * np.maximum(1, np.abs(parameters)))
    for row, step in zip(hessian, steps, strict=True):
        above = residual_equations(frame, corner, parameters + step)[1]
        below = residual_equations(frame, corner, parameters - step)[1]
        by_differences = (below - above) / (2 * step.max())
        np.testing.assert_allclose((row - by_differences) / scale / scale.max(), 0, atol=1e-6)


@pytest.mark.parametrize("corner", [(0, 0), (30, 20)])
def test_light_and_centroid_of_the_model_are_those_of_its_image(corner: tuple[int, int]) -> None:
    light, x, y = light_and_centroid(WITHIN_EACH_OTHER, np.array(corner, np.float64), 45, 55)
    pixels = image(WITHIN_EACH_OTHER, (45, 55), corner)
    rows, columns = np.indices(pixels.shape)
    assert light == pytest.approx(pixels.sum(), rel=1e-12)
    assert x == pytest.approx(corner[0] + (columns * pixels).sum() / pixels.sum(), rel=1e-12)
    assert y == pytest.approx(corner[1] + (rows * pixels).sum() / pixels.sum(), rel=1e-12)


@pytest.mark.parametrize("parameters", [APART, WITHIN_EACH_OTHER])
def test_parameters_are_recovered_within_their_errors(parameters: Floats) -> None:
    fits = fit_gaussians(counted(parameters, count=40))
    assert fits.converged.all()
    derivatives = jacobian(parameters)
    inverse = np.linalg.inv(derivatives.T @ derivatives)
    variances = image(parameters).reshape(-1, 1)
    covariance = inverse @ (derivatives.T @ (variances * derivatives)) @ inverse
    each = parameters.reshape(3, 5)
    most_light_first = np.argsort(-each[:, 0] * each[:, 3] * each[:, 4])
    sigmas = np.sqrt(np.diag(covariance)).reshape(3, 5)
    pulls = (fits.parameters.reshape(-1, 3, 5) - each[most_light_first]) / sigmas[most_light_first]
    assert np.abs(pulls).max() < 5
    assert np.sqrt((pulls**2).mean()) == pytest.approx(1, abs=0.15)


def by_curve_fit(frame: Light, method: str, start: int) -> float:
    """Σ (frame - model)² that scipy reaches from one of our cold starts; infinite if it gives up."""
    rows, columns = (np.arange(size, dtype=np.float64) for size in frame.shape)

    def model(_: Floats, *parameters: float) -> Floats:
        amplitudes, x, y, sigma_x, sigma_y = np.reshape(parameters, (3, 5, 1)).swapaxes(0, 1)
        along_x = np.exp(-(((columns - x) / sigma_x) ** 2) / 2)
        along_y = np.exp(-(((rows - y) / sigma_y) ** 2) / 2)
        return ((amplitudes * along_y).T @ along_x).ravel()

    first = cold_starts(frame.astype(np.float64), np.zeros(2))[start]
    limits = {} if method == "lm" else {"bounds": bounds(*frame.shape, np.zeros(2)), "x_scale": first}
    light = frame.ravel().astype(np.float64)
    try:
        found, _ = curve_fit(model, light, light, first, method=method, **limits)
    except RuntimeError:
        return np.inf
    return float(((light - model(light, *found)) ** 2).sum())


@pytest.mark.parametrize(("method", "start"), [("lm", 1), ("trf", 0)])
def test_of_recorded_frames_curve_fit_finds_no_closer_gaussians(method: str, start: int) -> None:
    light = recorded_light()
    fits = fit_gaussians(light)
    assert fits.converged.all()
    ours = squares(fits, light)[::EVERY]
    peers = np.array([by_curve_fit(frame, method, start) for frame in light[::EVERY]])
    assert np.isfinite(peers).all()
    assert (ours <= peers * (1 + 1e-6)).mean() >= 0.95


def test_of_recorded_crops_curve_fit_within_our_bounds_finds_no_closer_gaussians() -> None:
    light, _ = crop(recorded_light())
    fits = fit_gaussians(light)
    assert fits.converged.all()
    ours = squares(fits, light)[::EVERY]
    peers = np.array([by_curve_fit(frame, "trf", start=1) for frame in light[::EVERY]])
    assert (ours <= peers * (1 + 1e-6)).mean() >= 0.95


@pytest.mark.parametrize("method", ["lm", "trf"])
def test_of_made_frames_curve_fit_finds_no_closer_gaussians(method: str) -> None:
    for frame in random_beams(8):
        fits = fit_gaussians(frame[None])
        assert squares(fits, frame[None])[0] <= by_curve_fit(frame, method, start=1) * (1 + 1e-6)


def test_the_error_is_the_rms_over_the_range() -> None:
    light = random_beams(3) + np.float32(20)
    fits = fit_gaussians(light)
    rms = np.sqrt(squares(fits, light) / light[0].size)
    assert fits.error == pytest.approx(rms / (light.max(axis=(1, 2)) - light.min(axis=(1, 2))))


def test_gaussians_come_with_the_most_light_first() -> None:
    parameters = fit_gaussians(random_beams(10)).parameters
    light = parameters[:, 0::5] * parameters[:, 3::5] * parameters[:, 4::5]
    assert (np.diff(light, axis=1) <= 0).all()
    assert PARAMETER_NAMES[5:7] == ("gaussian2_amplitude", "gaussian2_x")


def test_moving_a_beam_moves_its_gaussians_and_nothing_else() -> None:
    frame = counted(WITHIN_EACH_OTHER)
    before = fit_gaussians(frame)
    after = fit_gaussians(np.roll(frame, (3, -5), axis=(1, 2)))
    moved = np.tile([0, -5, 3, 0, 0], 3)
    assert after.parameters[0] == pytest.approx(before.parameters[0] + moved, rel=1e-5)


def test_only_the_amplitudes_know_the_unit_of_light() -> None:
    frame = counted(WITHIN_EACH_OTHER)
    before, after = fit_gaussians(frame), fit_gaussians(frame * np.float32(2.0**60))
    scales = np.tile([2.0**60, 1, 1, 1, 1], 3)
    np.testing.assert_array_equal(after.parameters, before.parameters * scales)
    np.testing.assert_array_equal(after.error, before.error)


def test_a_beam_that_hardly_changes_takes_a_few_iterations_a_frame() -> None:
    random = np.random.default_rng(2)
    jitter = random.normal(0, 1, (30, 2)).round(2)
    beams = [WITHIN_EACH_OTHER + np.tile([0, x, y, 0, 0], 3) for x, y in jitter]
    energies = random.normal(1, 0.02, (30, 1, 1))
    light = random.poisson(energies * [image(beam) for beam in beams]).astype(np.float32)
    fits = fit_gaussians(light)
    assert fits.converged.all()
    assert fits.iterations[1:].max() <= 8


def test_a_beam_that_changes_altogether_begins_anew() -> None:
    light = np.concatenate([counted(APART, 3), counted(WITHIN_EACH_OTHER, 3), counted(APART, 3)])
    alone = np.array([fit_gaussians(frame[None]).error[0] for frame in light])
    assert (fit_gaussians(light).error <= alone * (1 + 1e-6)).all()


def test_a_sequence_goes_on_where_the_one_before_ended() -> None:
    light = counted(WITHIN_EACH_OTHER, count=6)
    whole, begun = fit_gaussians(light), fit_gaussians(light[:3])
    rest = fit_gaussians(light[3:], start=begun.parameters[-1])
    assert rest.parameters == pytest.approx(whole.parameters[3:], rel=1e-4)


def test_the_same_frames_give_the_same_fit_to_the_last_bit() -> None:
    light = random_beams(5)
    np.testing.assert_array_equal(fit_gaussians(light).parameters, fit_gaussians(light.copy()).parameters)


def test_a_beam_of_one_gaussian_is_described_down_to_its_noise() -> None:
    one = np.array([900, 40, 35, 9, 7, *[0, 0, 0, 1, 1] * 2], np.float64)
    fits = fit_gaussians(counted(one))
    noise = np.sqrt(image(one).mean()) / counted(one).max()
    assert fits.error[0] == pytest.approx(noise, rel=0.1)


UNFITTABLE = {
    "dark": np.zeros(SHAPE, np.float32),
    "evenly saturated": np.full(SHAPE, 4092, np.float32),
    "not a number": np.where(np.arange(128) == 5, np.float32(np.nan), image(APART).astype(np.float32)),
    "infinite": np.where(np.arange(128) == 5, np.float32(np.inf), image(APART).astype(np.float32)),
    "negative": image(APART).astype(np.float32) - np.float32(1),
}


@pytest.mark.parametrize("frame", UNFITTABLE.values(), ids=UNFITTABLE)
def test_a_frame_that_cannot_be_fitted_has_no_parameters_and_is_passed_over(frame: Light) -> None:
    light = counted(APART, count=2)
    fits = fit_gaussians(np.stack([frame, light[0], frame, light[1]]))
    assert np.isnan(fits.parameters[[0, 2]]).all()
    assert np.isnan(fits.error[[0, 2]]).all()
    assert fits.converged.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(fits.parameters[[1, 3]], fit_gaussians(light).parameters)


def test_light_on_a_single_pixel_is_there_and_as_narrow_as_can_be() -> None:
    frame = np.zeros((1, 30, 40), np.float32)
    frame[0, 12, 25] = 500
    parameters = fit_gaussians(frame).parameters[0]
    assert parameters[1:5] == pytest.approx([25, 12, NARROWEST, NARROWEST], abs=0.01)


def test_a_saturated_beam_is_fitted() -> None:
    fits = fit_gaussians(np.minimum(counted(8 * WITHIN_EACH_OTHER), 4092))
    assert fits.converged.all()
    assert 0 < fits.error[0] < 0.1


ANOMALOUS = [0.0, 0.0, 1.0, 29.0, 4092.0, 1e-40, 3e38, -1.0, np.nan, np.inf]
anomalous_frames = st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from(ANOMALOUS).map(np.float32))
)
normal_frames = st.tuples(st.integers(1, 3), st.integers(3, 9), st.integers(5, 9)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(0, 4092, width=32))
)


@settings(max_examples=150, deadline=None)
@given(anomalous_frames | normal_frames)
def test_any_frame_has_a_fit_within_its_bounds_or_none_at_all(light: Light) -> None:
    fits = fit_gaussians(light)
    count, height, width = light.shape
    assert fits.parameters.shape == (count, 15)
    assert fits.error.shape == fits.converged.shape == fits.iterations.shape == (count,)
    fitted = np.isfinite(fits.parameters).all(axis=1)
    assert np.isnan(fits.parameters[~fitted]).all()
    assert (np.isfinite(fits.error) == fitted).all()
    assert not fits.converged[~fitted].any()
    low, high = bounds(height, width, np.zeros(2))
    assert ((fits.parameters[fitted] >= low) & (fits.parameters[fitted] <= high)).all()
    light_of_fitted = light[fitted].astype(np.float64)
    rms = fits.error[fitted] * np.ptp(light_of_fitted, axis=(1, 2))
    assert (rms >= 0).all()
    assert (rms <= np.sqrt((light_of_fitted**2).mean(axis=(1, 2))) * (1 + 1e-6)).all(), (
        "no light at all is closer"
    )


@settings(max_examples=30, deadline=None)
@given(start=arrays(np.float64, 15, elements=st.floats(-1e6, 1e6)))
def test_no_start_does_worse_than_none(start: Floats) -> None:
    light = counted(APART)
    start[0] = abs(start[0]) + 1
    assert fit_gaussians(light, start).error[0] <= fit_gaussians(light).error[0] * (1 + 1e-9)


def test_crops_are_cut_around_the_centroid_and_within_the_frame() -> None:
    def around(x: float, y: float) -> Light:
        return image(np.array([900, x, y, 4, 4, 0, x, y, 4, 4, 0, x, y, 4, 4])).astype(np.float32)

    light = np.stack([around(60, 50), around(12, 90), UNFITTABLE["not a number"]])
    crops, corners = crop(light)
    assert crops.shape == (3, 45, 55)
    assert corners.tolist() == [[33, 28], [0, 57], [36, 28]]
    for frame, cut, (x, y) in zip(light, crops, corners, strict=True):
        np.testing.assert_array_equal(cut, frame[y : y + 45, x : x + 55])


def test_frames_smaller_than_the_crop_stay_whole() -> None:
    light = np.ones((2, 30, 40), np.float32)
    crops, corners = crop(light)
    np.testing.assert_array_equal(crops, light)
    assert not corners.any()


def test_the_fit_of_a_crop_is_that_of_the_frame() -> None:
    narrow = np.array([900, 60, 50, 6, 4, 500, 70, 53, 3, 3, 400, 52, 44, 2.5, 3])
    light = counted(narrow, count=5)
    crops, corners = crop(light)
    assert fit_gaussians(crops, corners=corners).parameters == pytest.approx(
        fit_gaussians(light).parameters, rel=1e-3
    )


@pytest.mark.parametrize("light", [np.zeros((4, 4), np.float32), np.zeros((1, 0, 4), np.float32)])
def test_what_are_not_frames_is_refused(light: Light) -> None:
    with pytest.raises(ValueError, match="frames must be"):
        fit_gaussians(light)


@pytest.mark.parametrize("start", [np.ones(14), np.full(15, np.nan), np.zeros(15)])
def test_what_is_no_start_is_refused(start: Floats) -> None:
    with pytest.raises(ValueError, match="a start must be"):
        fit_gaussians(counted(APART), start)
