"""Which physics the block of a device goes through, and what is measured in detail."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shotwatch_features.domain.measure import Known, chosen_for_detail, measure, measure_camera_in_detail
from shotwatch_physics.reference import make_reference
from shotwatch_shots.device_kinds import DeviceKind

SAMPLES = np.arange(512)


def frames() -> NDArray[np.uint16]:
    rows, columns = np.indices((40, 50))
    return np.array(
        [10 + 900 * np.exp(-((columns - x) ** 2 + (rows - 20) ** 2) / 60) for x in np.linspace(20, 24, 30)]
    ).astype(np.uint16)


def spectra() -> NDArray[np.float32]:
    return np.array([1000 * np.exp(-(((SAMPLES - x) / 60) ** 2)) for x in (200, 250, 300)], np.float32)


def test_the_fourier_limit_needs_the_facilitys_wavelengths() -> None:
    known = Known(4092, wavelengths=(750.0, 850.0))
    without = measure(DeviceKind.SPECTRO, {"spectrum": spectra()}, Known(4092))
    measured = measure(DeviceKind.SPECTRO, {"spectrum": spectra()}, known)
    assert np.isnan(without["fourier_limit"]).all()
    fwhm = 60 * 2 * np.sqrt(np.log(2)) * 100 / 511
    wavelength = 750 + 100 * np.array([200, 250, 300]) / 511
    assert measured["fourier_limit"] == pytest.approx(0.441 * wavelength**2 / 299.792 / fwhm, rel=0.02)
    assert measured["spectrum_centroid"] == pytest.approx(without["spectrum_centroid"])


def test_pointing_needs_a_reference() -> None:
    camera = {"image": frames()}
    reference = make_reference(frames(), None)
    assert "pointing" not in measure(DeviceKind.CAMERA, camera, Known(4092))
    measured = measure(DeviceKind.CAMERA, camera, Known(4092, reference=reference))
    assert measured["pointing_x"] == pytest.approx(measured["centroid_x"] - 22, abs=0.1)


def test_other_devices_have_no_features_and_lacking_arrays_are_a_mistake() -> None:
    assert measure(DeviceKind.OTHER, {"image": frames()}, Known(4092)) == {}
    with pytest.raises(ValueError, match="has no spectrum"):
        measure(DeviceKind.SPECTRO, {"image": frames()}, Known(4092))
    with pytest.raises(ValueError, match="has no image"):
        measure_camera_in_detail({"spectrum": spectra()}, Known(4092))


def test_at_ten_hertz_one_shot_in_ten_is_measured_in_detail_and_at_one_hertz_every_one() -> None:
    assert chosen_for_detail(1_656_660_780_000 + 100 * np.arange(600)).sum() == 60
    assert chosen_for_detail(1_656_660_780_000 + 1000 * np.arange(60)).all()
