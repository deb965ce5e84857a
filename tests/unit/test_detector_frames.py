"""Normalisation takes energy and dark level out of a profile, and nothing else."""

import numpy as np
import pytest

from shotwatch_detector.frames import SMALLEST_GAIN, ReferenceFrame, make_reference, normalise

SHAPE = (102, 128)
rows, columns = np.indices(SHAPE, np.float64)
BEAM = np.exp(-(((columns - 64) / 20) ** 2) - ((rows - 51) / 15) ** 2)


def frames(*beams: tuple[float, float]) -> np.ndarray:
    """Frames of the beam with these (peak, dark level) in counts."""
    return np.array([np.rint(peak * BEAM + dark) for peak, dark in beams]).astype(np.uint16)


@pytest.fixture
def reference() -> ReferenceFrame:
    made = make_reference(frames((3000, 50)))
    assert made is not None
    return made


def test_a_reference_has_dark_level_0_and_peak_1(reference: ReferenceFrame) -> None:
    assert reference.image.max() == pytest.approx(1)
    assert reference.image[0, 0] == pytest.approx(0, abs=1e-3)
    assert reference.peak == pytest.approx(3000, rel=0.01)


def test_frames_without_light_make_no_reference() -> None:
    assert make_reference(frames((3, 50), (0, 50))) is None


@pytest.mark.parametrize(("peak", "dark"), [(3000, 50), (1500, 50), (3000, 200), (600, 0), (3900, 120)])
def test_energy_and_dark_level_leave_no_trace_in_the_profile(
    peak: float, dark: float, reference: ReferenceFrame
) -> None:
    normalised = normalise(frames((peak, dark)), reference)
    assert np.abs(normalised.images[0] - reference.image).max() < 1.5 / peak
    assert normalised.brightness[0] == pytest.approx(peak / 3000, rel=2e-3)


def test_a_hot_spot_stays_in_the_profile_at_its_full_height(reference: ReferenceFrame) -> None:
    spot = 0.2 * np.exp(-((rows - 60) ** 2 + (columns - 70) ** 2) / (2 * 1.5**2))
    shot = np.rint(3000 * (BEAM + spot) + 50).astype(np.uint16)[None]
    excess = normalise(shot, reference).images[0] - reference.image
    assert excess[60, 70] == pytest.approx(0.2, rel=0.05)
    assert np.abs(excess[:30]).max() < 5e-3


def test_a_frame_without_light_is_not_blown_up(reference: ReferenceFrame) -> None:
    normalised = normalise(frames((0, 50)), reference)
    assert normalised.brightness[0] == pytest.approx(SMALLEST_GAIN)
    assert np.isfinite(normalised.images).all()
