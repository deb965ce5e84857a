"""The principal components of parameters against known answers, numpy, and unusual rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from shotwatch_physics.components import fit_components, project

Floats = NDArray[np.float64]


def reference(count: int = 400, seed: int = 1) -> Floats:
    """Parameters that vary along two directions, and by a little noise."""
    random = np.random.default_rng(seed)
    directions = np.zeros((2, 15))
    directions[0, [1, 6, 11]] = 1
    directions[1, [3, 4]] = 1
    strengths = random.normal(0, [3, 1], (count, 2))
    parameters: Floats = 100 + strengths @ directions + random.normal(0, 0.01, (count, 15))
    return parameters


def test_what_varies_together_is_one_component() -> None:
    components = fit_components(reference())
    first = np.zeros(15)
    first[[1, 6, 11]] = 1 / np.sqrt(3)
    second = np.zeros(15)
    second[[3, 4]] = 1 / np.sqrt(2)
    scaled_noise = 0.25
    assert components.axes[0] == pytest.approx(first, abs=scaled_noise)
    assert components.axes[1] == pytest.approx(second, abs=scaled_noise)
    assert components.mean == pytest.approx(np.full(15, 100), abs=0.6)


def test_components_are_those_of_the_covariance_matrix() -> None:
    parameters = reference() * np.arange(1, 16)
    components = fit_components(parameters)
    variances, vectors = np.linalg.eigh(np.cov(parameters / components.scale, rowvar=False))
    assert np.abs(np.sum(components.axes * vectors[:, :-3:-1].T, axis=1)) == pytest.approx([1, 1])
    assert components.explained == pytest.approx(variances[:-3:-1] / variances.sum())
    points = project(components, parameters)
    assert points.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert points.var(axis=0, ddof=1) == pytest.approx(variances[:-3:-1])


def test_axes_are_orthonormal_and_their_largest_entry_is_positive() -> None:
    for seed in range(10):
        axes = fit_components(reference(seed=seed)).axes
        assert axes @ axes.T == pytest.approx(np.eye(2))
        assert (axes[[0, 1], np.abs(axes).argmax(axis=1)] > 0).all()


def test_the_unit_of_a_parameter_does_not_matter() -> None:
    parameters = reference()
    units = np.logspace(-6, 6, 15)
    before, after = fit_components(parameters), fit_components(parameters * units)
    assert project(after, parameters * units) == pytest.approx(project(before, parameters))


def test_a_few_fits_in_another_minimum_leave_the_scale_alone() -> None:
    parameters = reference()
    scale = fit_components(parameters).scale
    parameters[::50] += 1000
    assert fit_components(parameters).scale == pytest.approx(scale, rel=0.1)


def test_frames_without_a_fit_are_left_out_and_have_no_point() -> None:
    parameters = reference()
    with_gaps = np.insert(parameters, [3, 70], np.nan, axis=0)
    components = fit_components(with_gaps)
    np.testing.assert_array_equal(components.axes, fit_components(parameters).axes)
    points = project(components, with_gaps)
    assert np.isnan(points).all(axis=1).nonzero()[0].tolist() == [3, 71]
    np.testing.assert_array_equal(
        points[~np.isnan(points[:, 0])], project(components, with_gaps[~np.isnan(with_gaps[:, 0])])
    )


def test_parameters_that_never_change_have_no_variance() -> None:
    components = fit_components(np.full((30, 15), 7.0))
    assert (components.explained == 0).all()
    assert (project(components, np.full((2, 15), 7.0)) == 0).all()


def test_too_few_fits_are_refused() -> None:
    parameters = reference(25)
    parameters[:6] = np.nan
    with pytest.raises(ValueError, match="at least 20 fits, not 19"):
        fit_components(parameters)


rows = st.integers(20, 40).flatmap(
    lambda count: arrays(
        np.float64, (count, 15), elements=st.sampled_from([0.0, 1.0, 1e-9, 4092.0, -5.0, 1e9, 3.3])
    )
)


@given(rows)
def test_any_finite_parameters_have_finite_components(parameters: Floats) -> None:
    components = fit_components(parameters)
    assert (components.scale > 0).all()
    assert ((components.explained >= 0) & (components.explained <= 1)).all()
    assert np.isfinite(components.axes).all()
    assert np.isfinite(project(components, parameters)).all()
