"""The spectrum's features against known answers, scipy, and odd spectra."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.signal import peak_widths

from shotwatch_common.feature_terms import SPECTRUM_FEATURES
from shotwatch_physics.spectrum import measure_spectra

Floats = NDArray[np.float64]
Spectra = NDArray[np.float32]

SAMPLES = np.arange(2047, dtype=np.float64)
WAVELENGTHS = np.linspace(700, 900, 2047)
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


def test_wavelengths_may_fall() -> None:
    rising = measure(line(WAVELENGTHS, 815, 12), wavelengths=WAVELENGTHS)
    falling = measure(line(WAVELENGTHS, 815, 12)[::-1], wavelengths=WAVELENGTHS[::-1])
    for name, values in rising.items():
        assert falling[name] == pytest.approx(values)


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
    for name in ("spectrum_centroid", "spectrum_rms_width", "spectrum_fwhm"):
        assert np.isnan(features[name])


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_leaves_its_own_spectrum_unmeasured(sample: float) -> None:
    good, bad = line(SAMPLES, 1000, 100), line(SAMPLES, 1000, 100)
    bad[17] = sample
    alone, beside = measure(good), measure(bad, good)
    for name, values in beside.items():
        assert np.isnan(values[0])
        assert values[1] == alone[name][0]


spectra = st.tuples(st.integers(0, 3), st.integers(1, 40)).flatmap(lambda shape: arrays(np.float32, shape))


@settings(max_examples=300)
@given(spectra)
def test_any_spectrum_has_every_feature_in_its_range_or_undefined(intensities: Spectra) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = measure_spectra(intensities)
    assert list(features) == [feature.name for feature in SPECTRUM_FEATURES]
    for feature in SPECTRUM_FEATURES:
        values = features[feature.name]
        low, high = feature.range
        known = values[~np.isnan(values)]
        assert values.shape == intensities.shape[:1]
        assert np.isfinite(known).all()
        assert ((known >= low) & (known <= high)).all()


@given(start=st.integers(0, 19), count=st.integers(1, 20))
def test_a_spectrum_s_features_do_not_depend_on_its_neighbours(start: int, count: int) -> None:
    block = np.random.default_rng(5).normal(50, 30, (20, 2047)).astype(np.float32)
    whole, part = measure_spectra(block), measure_spectra(block[start : start + count])
    for name, values in part.items():
        np.testing.assert_array_equal(values, whole[name][start : start + count])
