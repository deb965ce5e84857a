"""The spectrum's features are those of the plain implementation in tests/reference, whatever the samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from shotwatch_physics.spectrum import fourier_limits, measure_spectra
from tests.reference import spectrum as reference

Floats = NDArray[np.float64]
Spectra = NDArray[np.float32]

SAMPLES = 2047
RELATIVE = {"fourier_limit": 1e-6}
"""Relative tolerance of a feature; 1e-9 for the others.

The Fourier limit depends on which bins are noise, and the light in these bins is a difference of sums.
"""
POSITION = "spectrum_hole_position"


def assert_equal_features(spectra: Spectra, wavelengths: Floats | None = None) -> None:
    measured, expected = (
        measure_spectra(spectra, wavelengths),
        reference.measure_spectra(spectra, wavelengths),
    )
    for name, values in expected.items():
        if name != POSITION:
            tolerance = RELATIVE.get(name, 1e-9)
            np.testing.assert_allclose(measured[name], values, tolerance, tolerance, err_msg=name)
    np.testing.assert_array_equal(np.isnan(measured[POSITION]), np.isnan(expected[POSITION]))


def assert_equal_holes(spectra: Spectra) -> None:
    """Compare the holes' positions; only for spectra that have no two holes of the same depth."""
    measured, expected = measure_spectra(spectra), reference.measure_spectra(spectra)
    np.testing.assert_array_equal(measured[POSITION], expected[POSITION])


def recorder_like(count: int) -> Spectra:
    """Return spectra of a broad line with holes, noise and an offset, some of them clipped."""
    random = np.random.default_rng(11)
    sample = np.arange(SAMPLES)
    centre, width = random.uniform([[700], [100]], [[1300], [400]], (2, count))[:, :, None]
    light = 8000 * np.exp(-(np.minimum(np.abs((sample - centre) / width), 4) ** 4))
    hole = random.uniform(0, 1, (count, 1)) * np.exp(-(((sample - centre - 30) / 25) ** 2))
    noise = random.normal(0, 1, (count, SAMPLES)) * random.choice([0, 0.3, 10, 300], (count, 1))
    return np.minimum(light * (1 - hole) + noise + 20, 6000).astype(np.float32)


@pytest.mark.parametrize(
    "wavelengths", [None, np.linspace(700, 900, SAMPLES), np.linspace(900, 700, SAMPLES)]
)
def test_spectra_as_recorded_have_the_reference_s_features(wavelengths: Floats | None) -> None:
    spectra = recorder_like(150)
    assert_equal_features(spectra, wavelengths)
    assert_equal_holes(spectra + np.random.default_rng(2).normal(0, 1e-2, spectra.shape).astype(np.float32))


@pytest.mark.parametrize("level", [0.0, -5.0, 40.0])
@pytest.mark.parametrize("samples", [1, 2, 3, 127, 128, 129, 2048])
def test_even_spectra_and_a_single_line_have_the_reference_s_features(level: float, samples: int) -> None:
    spectra = np.full((3, samples), level, np.float32)
    spectra[1, samples // 2] = 900
    spectra[2, 0] = 900
    assert_equal_features(spectra)
    assert_equal_features(spectra, np.linspace(700, 900, samples))


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(0, 3), st.integers(1, 300)).flatmap(
        lambda shape: arrays(
            np.float32,
            shape,
            elements=st.one_of(
                st.integers(-20, 5000).map(float), st.sampled_from([0.0, np.nan, np.inf, -np.inf])
            ),
        )
    )
)
def test_any_spectra_have_the_reference_s_features(spectra: Spectra) -> None:
    assert_equal_features(spectra)


def test_fourier_limits_are_those_of_all_features() -> None:
    spectra, wavelengths = recorder_like(70), np.linspace(700, 900, SAMPLES)
    expected = reference.fourier_limits(spectra, wavelengths)
    np.testing.assert_allclose(fourier_limits(spectra, wavelengths), expected, rtol=1e-6)
