"""The spectrum's features against known answers, scipy, and unusual spectra."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.signal import peak_widths

from shotwatch_physics.spectrum import measure_spectra
from shotwatch_shots.features.spectrum import SPECTRUM_FEATURES

Floats = NDArray[np.float64]
Spectra = NDArray[np.float32]

SAMPLES = np.arange(2047, dtype=np.float64)
WAVELENGTHS = np.linspace(700, 900, 2047)
BLOCK = np.random.default_rng(5).normal(50, 30, (100, 2047)).astype(np.float32)
LIGHT_SPEED = 299.792458
FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))


def line(axis: Floats, centre: float, sigma: float, peak: float = 1000.0) -> Floats:
    return peak * np.exp(-(((axis - centre) / sigma) ** 2) / 2)


def measure(*spectra: Floats, wavelengths: Floats | None = None) -> dict[str, Floats]:
    return measure_spectra(np.array(spectra, dtype=np.float32), wavelengths)


@pytest.mark.parametrize(("centre", "sigma"), [(815.0, 12.0), (770.3, 5.5)])
def test_a_gaussian_line_is_measured_as_it_was_made(centre: float, sigma: float) -> None:
    features = measure(line(WAVELENGTHS, centre, sigma), wavelengths=WAVELENGTHS)
    step = WAVELENGTHS[1] - WAVELENGTHS[0]
    assert features["spectrum_centroid"] == pytest.approx(centre, abs=1e-3)
    assert features["spectrum_rms_width"] == pytest.approx(sigma, rel=1e-3)
    assert features["spectrum_fwhm"] == pytest.approx(FWHM_OF_SIGMA * sigma, rel=1e-3)
    assert features["spectrum_sum"] == pytest.approx(1000 * sigma * np.sqrt(2 * np.pi) / step, rel=1e-3)
    assert features["spectrum_peak"] == pytest.approx(1000, rel=1e-4)


@pytest.mark.parametrize(("centre", "sigma"), [(815.0, 12.0), (770.3, 5.5)])
def test_a_gaussian_is_1_7_times_as_wide_at_1_over_e2_as_at_half_maximum(centre: float, sigma: float) -> None:
    features = measure(line(WAVELENGTHS, centre, sigma), wavelengths=WAVELENGTHS)
    assert features["spectrum_width_e2"] == pytest.approx(4 * sigma, rel=1e-3)


@given(centre=st.floats(600, 1400), sigma=st.floats(3, 60))
def test_the_width_at_1_over_e2_agrees_with_scipy(centre: float, sigma: float) -> None:
    spectrum = line(SAMPLES, centre, sigma).astype(np.float32)
    peak = [spectrum.argmax()]
    expected = peak_widths(spectrum.astype(np.float64), peak, rel_height=1 - np.exp(-2))[0]
    assert measure_spectra(spectrum[None])["spectrum_width_e2"] == pytest.approx(expected, rel=1e-6)


def over_frequency(power: Callable[[Floats], Floats], bandwidth: float, wavelengths: Floats) -> Floats:
    """Counts per nm of a pulse at 800 nm whose power per frequency has the given bandwidth (1/fs)."""
    frequency = LIGHT_SPEED / wavelengths
    return 1000 * power((frequency - LIGHT_SPEED / 800) / bandwidth) * (frequency / frequency.mean()) ** 2


def gaussian(x: Floats) -> Floats:
    return np.exp(-4 * np.log(2) * x**2)


def sech2(x: Floats) -> Floats:
    return 1 / np.cosh(2 * np.arccosh(np.sqrt(2)) * x) ** 2


@pytest.mark.parametrize(("power", "product"), [(gaussian, 0.4413), (sech2, 0.3148)])
@pytest.mark.parametrize("bandwidth", [0.003, 0.006, 0.012])
def test_a_transform_limited_pulse_has_its_time_bandwidth_product(
    power: Callable[[Floats], Floats], product: float, bandwidth: float
) -> None:
    spectrum = over_frequency(power, bandwidth, WAVELENGTHS)
    features = measure(spectrum, spectrum[::-1], wavelengths=WAVELENGTHS)
    assert features["fourier_limit"][0] * bandwidth == pytest.approx(product, rel=5e-3)
    falling = measure(spectrum[::-1], wavelengths=WAVELENGTHS[::-1])
    assert falling["fourier_limit"] == pytest.approx(features["fourier_limit"][0], rel=1e-9)


def test_the_fourier_limit_agrees_with_a_sum_over_the_spectrum_s_own_samples() -> None:
    spectrum = line(WAVELENGTHS, 790, 9) + line(WAVELENGTHS, 825, 14, peak=600)
    frequency = LIGHT_SPEED / WAVELENGTHS
    per_frequency = spectrum * WAVELENGTHS**2 / LIGHT_SPEED
    step = np.abs(np.gradient(frequency))
    times = np.arange(0, 40, 0.02)
    phases = np.exp(2j * np.pi * times[:, None] * (frequency - frequency.mean()))
    pulse = np.abs((np.sqrt(per_frequency) * step * phases).sum(axis=1)) ** 2
    expected = 2 * times[np.flatnonzero(pulse >= pulse[0] / 2)[-1]]
    features = measure(spectrum, wavelengths=WAVELENGTHS)
    assert features["fourier_limit"] == pytest.approx(expected, rel=5e-3)


def test_unevenly_spaced_pixels_give_the_same_pulse() -> None:
    even = LIGHT_SPEED / np.linspace(LIGHT_SPEED / 700, LIGHT_SPEED / 900, 2047)
    spectrum = over_frequency(gaussian, 0.01, even) * np.abs(np.gradient(even))
    assert measure(spectrum, wavelengths=even)["fourier_limit"] == pytest.approx(44.13, rel=5e-3)


@pytest.mark.parametrize(("width", "order", "most"), [(24, 2, 0.05), (35, 8, 0.01)])
def test_read_noise_hides_the_wings_and_hardly_changes_the_fourier_limit(
    width: float, order: int, most: float
) -> None:
    clean = 8000 * np.exp(-2 * np.minimum(np.abs((WAVELENGTHS - 815) / width) ** order, 40))
    noise = np.random.default_rng(8).normal(0, 10, (20, 2047))
    limit = measure(clean, *(clean + noise), wavelengths=WAVELENGTHS)["fourier_limit"]
    assert limit[1:] == pytest.approx(limit[0], rel=most)


def test_without_wavelengths_or_resolution_there_is_no_fourier_limit() -> None:
    assert np.isnan(measure(line(SAMPLES, 1000, 80))["fourier_limit"])
    single = measure(7.0 * (SAMPLES == 1234), wavelengths=WAVELENGTHS)
    assert np.isnan(single["fourier_limit"])
    assert np.isnan(measure(np.ones(1), wavelengths=np.array([800.0]))["fourier_limit"])


@pytest.mark.parametrize(
    "wavelengths", [[800, 801, 801], [800, 802, 801], [-1, 0, 1], [800, 801], [1, 2, np.inf]]
)
def test_wavelengths_that_cannot_be_are_refused(wavelengths: list[float]) -> None:
    with pytest.raises(ValueError, match="wavelengths"):
        measure(np.ones(3), wavelengths=np.array(wavelengths, dtype=np.float64))


def plateau(axis: Floats) -> Floats:
    return 8000 * np.exp(-2 * np.minimum(((axis - 1000) / 350) ** 8, 40))


@pytest.mark.parametrize("depth", [0.05, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("position", [920, 1000, 1070])
def test_a_hole_is_found_where_and_as_deep_as_it_is(position: float, depth: float) -> None:
    holed = plateau(SAMPLES) * (1 - line(SAMPLES, position, 20, peak=depth))
    noise = np.random.default_rng(9).normal(0, 0.01, 2047) * holed
    features = measure(plateau(SAMPLES), holed, holed + noise)
    assert features["spectrum_hole_depth"][0] == 0
    assert features["spectrum_hole_depth"][1:] == pytest.approx(depth, abs=0.02 + 0.02 * depth)
    assert features["spectrum_hole_position"][1:] == pytest.approx(position, abs=8)


def test_the_valley_between_two_lines_is_as_deep_as_the_lower_one_is_high() -> None:
    two = line(SAMPLES, 700, 40) + line(SAMPLES, 1300, 40, peak=600)
    features = measure(two, line(SAMPLES, 700, 40))
    assert features["spectrum_hole_depth"][0] == pytest.approx(0.6, abs=0.01)
    assert features["spectrum_hole_depth"][1] == 0
    assert np.isnan(features["spectrum_hole_position"][1])


def test_wavelengths_may_fall() -> None:
    rising = measure(line(WAVELENGTHS, 815, 12), wavelengths=WAVELENGTHS)
    falling = measure(line(WAVELENGTHS, 815, 12)[::-1], wavelengths=WAVELENGTHS[::-1])
    for name, values in rising.items():
        assert falling[name] == pytest.approx(values, nan_ok=True)


def test_without_wavelengths_positions_are_sample_numbers() -> None:
    features = measure(line(SAMPLES, 1000.25, 80))
    assert features["spectrum_centroid"] == pytest.approx(1000.25)
    assert features["spectrum_fwhm"] == pytest.approx(FWHM_OF_SIGMA * 80, rel=1e-4)


@given(centre=st.floats(600, 1400), sigma=st.floats(3, 60), peak=st.floats(1, 1e6))
def test_the_full_width_at_half_maximum_agrees_with_scipy(centre: float, sigma: float, peak: float) -> None:
    spectrum = line(SAMPLES, centre, sigma, peak).astype(np.float32)
    expected = peak_widths(spectrum.astype(np.float64), [spectrum.argmax()], rel_height=0.5)[0]
    assert measure_spectra(spectrum[None])["spectrum_fwhm"] == pytest.approx(expected, rel=1e-6)


def test_a_hole_does_not_shorten_the_full_width() -> None:
    whole = line(SAMPLES, 1000, 100)
    holed = whole - line(SAMPLES, 1030, 10, peak=900)
    features = measure(whole, holed)
    assert features["spectrum_fwhm"][1] == pytest.approx(features["spectrum_fwhm"][0], rel=0.02)


def test_two_humps_are_measured_from_the_outside_of_one_to_the_outside_of_the_other() -> None:
    features = measure(line(SAMPLES, 800, 50) + line(SAMPLES, 1200, 50))
    assert features["spectrum_fwhm"] == pytest.approx(400 + FWHM_OF_SIGMA * 50, rel=1e-3)


def test_a_spectrum_cut_by_its_end_has_no_full_width() -> None:
    features = measure(line(SAMPLES, 5, 50))
    assert np.isnan(features["spectrum_fwhm"])
    assert np.isfinite(features["spectrum_centroid"])


def test_light_in_a_single_sample_has_a_place_and_no_rms_width() -> None:
    features = measure(7.0 * (SAMPLES == 1234))
    assert features["spectrum_centroid"] == 1234
    assert features["spectrum_rms_width"] == 0
    assert features["spectrum_fwhm"] == pytest.approx(1)


@pytest.mark.parametrize("level", [0.0, -3.0])
def test_a_spectrum_without_light_has_a_sum_and_a_peak_only(level: float) -> None:
    features = measure(np.full(2047, level))
    assert features["spectrum_sum"] == 2047 * level
    assert features["spectrum_peak"] == level
    for name in features.keys() - {"spectrum_sum", "spectrum_peak"}:
        assert np.isnan(features[name])


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_leaves_its_own_spectrum_unmeasured(sample: float) -> None:
    good, bad = line(SAMPLES, 1000, 100), line(SAMPLES, 1000, 100)
    bad[17] = sample
    alone, beside = measure(good), measure(bad, good)
    for name, values in beside.items():
        assert np.isnan(values[0])
        np.testing.assert_array_equal(values[1], alone[name][0])


spectra = st.tuples(st.integers(0, 3), st.integers(1, 40)).flatmap(lambda shape: arrays(np.float32, shape))


@settings(max_examples=300)
@given(spectra, st.booleans())
def test_any_spectrum_has_every_feature_in_its_range_or_undefined(
    intensities: Spectra, known_wavelengths: bool
) -> None:
    wavelengths = np.linspace(790, 810, intensities.shape[1]) if known_wavelengths else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = measure_spectra(intensities, wavelengths)
    assert list(features) == [feature.name for feature in SPECTRUM_FEATURES]
    for feature in SPECTRUM_FEATURES:
        values = features[feature.name]
        low, high = feature.range
        known = values[~np.isnan(values)]
        assert values.shape == intensities.shape[:1]
        assert np.isfinite(known).all()
        assert ((known >= low) & (known <= high)).all()


@pytest.mark.parametrize("wavelengths", [None, WAVELENGTHS])
@settings(max_examples=30)
@given(start=st.integers(0, 99), count=st.integers(1, 100))
def test_a_spectrum_s_features_do_not_depend_on_its_neighbours(
    wavelengths: Floats | None, start: int, count: int
) -> None:
    whole, part = (measure_spectra(some, wavelengths) for some in (BLOCK, BLOCK[start : start + count]))
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][start : start + count])


def test_a_spectrum_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        measure_spectra(np.empty((3, 0), np.float32))
