"""Beams of known truth on uneven backgrounds, with hot pixels and black borders; and recorded ones."""

from pathlib import Path

import laserbeamsize
import numpy as np
import pytest
from numpy.typing import NDArray

from shotwatch_physics.background import estimate_background
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.noise import fit_noise
from shotwatch_physics.surface import fit_surface
from shotwatch_simulator.image_reader import read_images
from shotwatch_simulator.recordings import bin_windows

pytestmark = pytest.mark.slow

Images = NDArray[np.uint16]
Floats = NDArray[np.float64]

SATURATED_AT = 4092
SHAPE = (102, 128)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
LAB_MODES = SHARED / "data" / "beams" / "lab_modes"
CASES = SHARED / "cases" / "public"

real_frames = pytest.mark.skipif(not LAB_MODES.is_dir(), reason=f"real frames are absent: no {LAB_MODES}")
public_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"the public cases are absent: no {CASES}")


def gaussian(
    sigma: float = 6.0,
    minor: float | None = None,
    x: float = 64.3,
    y: float = 50.8,
    angle: float = 0.0,
    peak: float = 2500.0,
) -> Floats:
    """A Gaussian beam; the angle (rad) is from x towards y."""
    right, down = COLUMN - x, ROW - y
    along = right * np.cos(angle) + down * np.sin(angle)
    across = down * np.cos(angle) - right * np.sin(angle)
    light: Floats = peak * np.exp(-((along / sigma) ** 2 + (across / (minor or sigma)) ** 2) / 2)
    return light


def recorded(light: Floats, pedestal: float = 50.0, noise: float = 1.0, count: int = 10) -> Images:
    counts = light + pedestal + np.random.default_rng(0).normal(0, noise, (count, *light.shape))
    return np.clip(np.round(counts), 0, SATURATED_AT).astype(np.uint16)


def measure(images: Images) -> dict[str, Floats]:
    return measure_beams(images, SATURATED_AT)


def widths(images: Images) -> Floats:
    """D4σ along the major and minor axis: (2, n)."""
    features = measure(images)
    return np.stack([features["d4sigma_major"], features["d4sigma_minor"]])


def true_widths(light: Floats) -> Floats:
    """D4σ of all light, from its covariance matrix: (2, 1)."""
    covariance = np.cov(np.stack([COLUMN.ravel(), ROW.ravel()]), aweights=light.ravel(), ddof=0)
    return 4 * np.sqrt(np.linalg.eigvalsh(covariance)[::-1, None])


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0, 10.0])
@pytest.mark.parametrize("rise", [16, 64, 250, 1000])
@pytest.mark.parametrize("direction", [0.0, 0.8, 2.5])
def test_a_background_that_rises_across_the_frame_changes_no_width(
    sigma: float, rise: float, direction: float
) -> None:
    slope = rise * (COLUMN * np.cos(direction) + ROW * np.sin(direction)) / SHAPE[1]
    frames = recorded(gaussian(sigma) + slope - slope.min())
    features = measure(frames)
    assert widths(frames) == pytest.approx(np.full((2, 10), 4 * sigma), rel=0.02)
    assert features["centroid_x"] == pytest.approx(64.3, abs=0.05)
    assert features["centroid_y"] == pytest.approx(50.8, abs=0.05)
    assert features["total_intensity"] == pytest.approx(2 * np.pi * 2500 * sigma**2, rel=0.03)
    assert (features["background_noise"] < 2).all()


@pytest.mark.parametrize(
    ("sigma", "rise"),
    [(14, 64), (14, 250), (15, 64), (15, 250), (16, 64), (16, 250), (17, 64), (17, 250), (18, 64)],
)
@pytest.mark.parametrize("direction", [0.0, 0.8, 2.5])
def test_a_slope_under_a_beam_that_reaches_the_borders_changes_no_width(
    sigma: float, rise: float, direction: float
) -> None:
    slope = rise * (COLUMN * np.cos(direction) + ROW * np.sin(direction)) / SHAPE[1]
    frames = recorded(gaussian(sigma) + slope - slope.min())
    assert widths(frames) == pytest.approx(np.full((2, 10), 4 * sigma), rel=0.05)


@pytest.mark.parametrize("height", [8, 32, 64])
@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_a_wide_bump_under_the_beam_is_background(height: float, sigma: float) -> None:
    bump = height * np.exp(-((COLUMN - 64) ** 2 + (ROW - 51) ** 2) / 7200)
    assert widths(recorded(gaussian(sigma) + bump)) == pytest.approx(np.full((2, 10), 4 * sigma), rel=0.03)


@pytest.mark.parametrize("pedestal", [0, 1, 30, 300, 1000])
def test_a_pedestal_changes_no_width(pedestal: float) -> None:
    assert widths(recorded(gaussian(), pedestal)) == pytest.approx(np.full((2, 10), 24), rel=0.01)


@pytest.mark.parametrize("degrees", [0, 10, 22.5, 45, 70])
def test_an_elliptical_beam_on_a_slope_is_measured_whichever_way_it_is_turned(degrees: float) -> None:
    frames = recorded(gaussian(12, 5, angle=np.radians(degrees)) + 64 * COLUMN / SHAPE[1])
    assert widths(frames)[0] == pytest.approx(48, rel=0.01)
    assert widths(frames)[1] == pytest.approx(20, rel=0.01)
    assert np.sin(measure(frames)["orientation"] + np.radians(degrees)) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    "light",
    [
        gaussian(6, x=0),
        gaussian(6, x=3, y=4),
        np.where(COLUMN < 64, gaussian(12), 0),
        gaussian(3, x=44) + gaussian(3, x=84),
        gaussian(5, x=39) + gaussian(5, x=89, peak=250),
        gaussian(4, x=45, y=35) + gaussian(4, x=80, y=65, peak=2000),
    ],
    ids=["at the edge", "in the corner", "cut in half", "two", "two, 10 : 1", "two, diagonal"],
)
def test_clipped_and_double_beams_are_measured_as_the_light_that_is_there(light: Floats) -> None:
    assert widths(recorded(light)) == pytest.approx(np.broadcast_to(true_widths(light), (2, 10)), rel=0.01)


@pytest.mark.parametrize(("sigma", "rel"), [(12, 0.01), (15, 0.01), (20, 0.06), (25, 0.15), (30, 0.25)])
def test_a_beam_that_fills_the_frame_is_measured_too_small_and_never_too_large(
    sigma: float, rel: float
) -> None:
    measured = widths(recorded(gaussian(sigma)))
    assert measured == pytest.approx(np.full((2, 10), 4 * sigma), rel=rel)
    assert (measured < 4 * sigma).all()


@pytest.mark.parametrize(("peak", "hot"), [(300, 1000), (2500, 4092), (2500, 1000), (300, 200)])
def test_a_hot_pixel_far_from_a_small_beam_is_no_beam(peak: float, hot: int) -> None:
    frames = recorded(gaussian(2, peak=peak), pedestal=16)
    alone = measure(frames)
    frames[:, 5, 120] = hot
    features = measure(frames)
    assert (alone["hot_pixels"] == 0).all()
    assert (features["hot_pixels"] == 1).all()
    for name in ("d4sigma_major", "d4sigma_minor", "total_intensity"):
        assert features[name] == pytest.approx(alone[name], rel=0.05)


@pytest.mark.parametrize(("sigma", "peak", "hot"), [(20, 300, 1000), (15, 300, 4092), (20, 1000, 4092)])
def test_a_hot_pixel_beside_a_wide_beam_on_a_slope_changes_no_width(
    sigma: float, peak: float, hot: int
) -> None:
    slope = 0.5 * (COLUMN.max() - COLUMN) + 0.5 * ROW
    frames = recorded(gaussian(sigma, peak=peak) + slope)
    alone = widths(frames)
    frames[:, 5, 120] = hot
    assert widths(frames) == pytest.approx(alone, rel=0.01)


def test_a_beam_with_a_plain_peak_always_has_widths() -> None:
    """Peaks of 100 to 2,500 counts, 100 times the noise and more; slopes up to three times the peak."""
    random = np.random.default_rng(5)
    for _ in range(500):
        sigma, peak = random.uniform(1.5, 30), random.choice([100, 300, 1000, 2500])
        angle, direction = random.uniform(0, np.pi, 2)
        x, y = random.uniform(30, 98), random.uniform(25, 77)
        light = gaussian(sigma, sigma * random.uniform(0.6, 1), x, y, angle, peak)
        slope = (COLUMN * np.cos(direction) + ROW * np.sin(direction)) * random.uniform(0, 3) * peak / 128
        frames = recorded(light + slope - slope.min(), random.choice([0, 50, 1000]), count=1)
        for count in random.choice([0, 400, 1000, SATURATED_AT], random.integers(0, 3)):
            frames[:, random.integers(SHAPE[0]), random.integers(SHAPE[1])] = count
        assert (widths(frames) > 2).all(), (sigma, peak, angle, direction, x, y)


def test_hot_pixels_on_borders_and_corners_are_found_and_two_side_by_side_are_not() -> None:
    frames = recorded(gaussian())
    frames[:, [0, 0, 50, -1], [0, 64, -1, 7]] = 2000
    frames[:, 10, 10:12] = 2000
    assert (measure(frames)["hot_pixels"] == 4).all()


@pytest.mark.parametrize(("pedestal", "noise"), [(0, 1), (0, 5), (30, 3), (1000, 20)])
def test_noise_has_no_hot_pixels(pedestal: float, noise: float) -> None:
    assert measure(recorded(gaussian(10), pedestal, noise, count=50))["hot_pixels"].sum() == 0


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5])
def test_the_peak_of_a_narrow_beam_is_no_hot_pixel(sigma: float) -> None:
    frames = np.concatenate([recorded(gaussian(sigma, x=64 + shift)) for shift in np.linspace(0, 1, 11)])
    assert (measure(frames)["hot_pixels"] == 0).all()


def test_faint_beams_are_never_without_a_width() -> None:
    for sigma in (1.5, 3.0, 6.0):
        assert np.isfinite(widths(recorded(gaussian(sigma, peak=100), noise=3.0, count=100))).all()


@pytest.mark.parametrize("black", [(10, 0, 0, 0), (0, 7, 0, 0), (3, 3, 12, 20)])
def test_a_black_border_is_cut_off_and_moves_nothing(black: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = black
    frames = recorded(gaussian(), pedestal=100)
    recorded_part = np.s_[:, top : SHAPE[0] - bottom, left : SHAPE[1] - right]
    bordered = np.zeros_like(frames)
    bordered[recorded_part] = frames[recorded_part]
    part, whole = measure(frames[recorded_part]), measure(bordered)
    moved = {
        "centroid_x": left,
        "spot_x": left,
        "hole_x": left,
        "centroid_y": top,
        "spot_y": top,
        "hole_y": top,
    }
    for name, values in part.items():
        np.testing.assert_array_equal(whole[name], values + moved.get(name, 0))
    assert whole["background"] == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("lines", [1, 2, 4, 8])
@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
@pytest.mark.parametrize(
    ("pedestal", "peak"),
    [
        (0, 2500),
        (30, 2500),
        (100, 100),
        (200, 100),
        (400, 300),
        (600, 500),
        (900, 500),
        (1000, 100),
        (1000, 900),
    ],
)
def test_a_black_border_of_any_width_changes_no_beam_on_any_pedestal(
    pedestal: float, peak: float, side: str, lines: int
) -> None:
    frames = recorded(gaussian(peak=peak), pedestal)
    border = {
        "top": np.s_[:, :lines],
        "bottom": np.s_[:, -lines:],
        "left": np.s_[:, :, :lines],
        "right": np.s_[:, :, -lines:],
    }
    frames[border[side]] = 0
    features = measure(frames)
    assert widths(frames).mean(axis=1) == pytest.approx([24, 24], rel=0.05)
    assert features["centroid_x"] == pytest.approx(64.3, abs=0.3)
    assert features["centroid_y"] == pytest.approx(50.8, abs=0.3)
    assert features["background"] == pytest.approx(pedestal, abs=0.5)


@pytest.mark.parametrize("ripple", [0.0, 0.02, 0.1])
def test_a_flat_top_beam_on_black_is_no_recorded_part(ripple: float) -> None:
    inside = (np.abs(COLUMN - 64) < 48) & (np.abs(ROW - 51) < 40)
    top = 2000 * (1 + ripple * np.random.default_rng(1).uniform(-1, 1, SHAPE))
    features = measure(recorded(np.where(inside, top, 0.0), 0, noise=0.0, count=1))
    assert features["d4sigma_major"] == pytest.approx(4 * np.sqrt((95**2 - 1) / 12), rel=0.01)
    assert features["d4sigma_minor"] == pytest.approx(4 * np.sqrt((79**2 - 1) / 12), rel=0.01)


def test_frames_with_and_without_black_borders_are_measured_beside_each_other() -> None:
    frames = recorded(gaussian(), pedestal=100)
    frames[::2, :10] = 0
    noise = fit_noise(recorded(np.zeros(SHAPE), pedestal=100, count=20))
    together = measure_beams(frames, SATURATED_AT, noise)
    for index in range(len(frames)):
        alone = measure_beams(frames[index : index + 1], SATURATED_AT, noise)
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name][index], values[0])


@pytest.mark.parametrize("level", [0, 30])
def test_dark_rows_beside_a_beam_without_noise_are_no_black_border(level: float) -> None:
    box = np.where((np.abs(COLUMN - 64) < 40) & (np.abs(ROW - 51) < 30), 2000.0, 0.0)
    features = measure(recorded(box, level, noise=0.0, count=1))
    assert features["d4sigma_major"] == pytest.approx(4 * np.sqrt((79**2 - 1) / 12), rel=1e-3)
    assert features["d4sigma_minor"] == pytest.approx(4 * np.sqrt((59**2 - 1) / 12), rel=1e-3)


def test_an_even_background_has_no_tilt_and_a_steep_one_has_its_own() -> None:
    even = estimate_background(recorded(gaussian(), noise=3.0, count=100))
    assert (even.tilt == 0).all(axis=1).mean() > 0.98
    steep = estimate_background(recorded(gaussian() + 0.5 * COLUMN - 0.25 * ROW + 30, noise=3.0, count=100))
    assert steep.tilt.mean(axis=0) == pytest.approx([0.5, -0.25], rel=0.02)
    assert steep.level.mean() == pytest.approx(80 + 0.5 * 63.5 - 0.25 * 50.5, abs=0.1)


def test_a_surface_has_the_coefficients_of_least_squares_where_they_stand_out_of_the_noise() -> None:
    random = np.random.default_rng(2)
    terms = np.stack([np.ones(200), *random.normal(0, 10, (2, 200))])
    values = [5, 2, -3] @ terms + random.normal(0, 1, 200)
    expected = np.linalg.lstsq(terms.T, values, rcond=None)[0]
    assert fit_surface(terms, values, np.ones(200), 1) == pytest.approx(expected, rel=1e-2)
    noise = random.normal(0, 1, 200)
    assert fit_surface(terms, noise, np.ones(200), 1)[1:] == pytest.approx([0, 0], abs=0)


@real_frames
@pytest.mark.parametrize("name", ["t-hene.pgm", "t-480mm.pgm", "t-nolens.pgm"])
def test_recorded_beams_agree_with_laserbeamsize_in_its_iso_mode(name: str) -> None:
    frame = binned(name)
    *_, major, minor, _ = laserbeamsize.beam_size(frame)
    assert widths(frame[None])[:, 0] == pytest.approx([major, minor], rel=0.02)


@real_frames
@pytest.mark.parametrize(
    "name", ["TEM00_200mm.pgm", "TEM01_200mm.pgm", "TEM02_200mm.pgm", "k-400mm.png", "k-600mm.png"]
)
def test_recorded_beams_on_uneven_backgrounds_are_as_wide_as_on_their_own_surroundings(name: str) -> None:
    """laserbeamsize without its ISO mode, which is blind to wings: up to a tenth narrower."""
    frame = binned(name)
    *_, major, minor, _ = laserbeamsize.beam_size(frame, iso_noise=False)
    assert minor is not None
    measured = widths(frame[None])[:, 0]
    assert measured == pytest.approx([major, minor], rel=0.1)
    assert (measured > [major, minor]).all()


def binned(name: str) -> Images:
    light = bin_windows(read_images(LAB_MODES / name)[0], SHAPE, None, 0)[0]
    return np.round(light / light.max() * 2987).astype(np.uint16)


@public_cases
def test_the_public_case_of_an_uneven_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = CASES / "06-uneven-background" / "make.py"
    exec(compile(script.read_text(), script, "exec"), {"__name__": "case"})
    for frame in tmp_path.glob("*.npy"):
        assert widths(np.load(frame)[None])[:, 0] == pytest.approx([24, 24], rel=0.03)


@public_cases
def test_the_public_case_of_a_far_hot_pixel(capsys: pytest.CaptureFixture[str]) -> None:
    script = CASES / "07-far-hot-pixel" / "make.py"
    exec(compile(script.read_text(), script, "exec"), {"__name__": "case"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert [float(width) for width in line.split()[-2:]] == pytest.approx([8, 8], rel=0.1)
