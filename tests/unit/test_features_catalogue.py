"""The list of features describes every feature."""

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.reference import make_reference, measure_in_detail, pointing
from shotwatch_physics.spectrum import measure_spectra
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.features.scores import SCORES


def beams() -> NDArray[np.uint16]:
    """Two Gaussians that wander a little, on thirty frames."""
    y, x = np.indices((60, 80))
    wander = np.random.default_rng(1).normal(0, 0.5, (30, 2, 1, 1))
    narrow = 1000 * np.exp(-((x - 38 - wander[:, 0]) ** 2 + (y - 30 - wander[:, 1]) ** 2) / 50)
    wide = 300 * np.exp(-((x - 42) ** 2 + (y - 28) ** 2) / 400)
    return (10 + narrow + wide).astype(np.uint16)


def test_the_specs_list_exactly_what_is_measured_detailed_and_scored() -> None:
    frames = beams()
    reference = make_reference(frames, noise=None)
    measured = {
        **measure_beams(frames, saturated_at=4092),
        **pointing(np.zeros((1, 2)), reference),
        **measure_in_detail(frames[:1], None, reference),
        **measure_spectra(np.zeros((1, 8), np.float32)),
        **measure_energies(np.zeros(1), np.zeros(1)),
    }
    assert list(FEATURE_SPECS) == [*measured, *(score.name for score in SCORES)]


def test_every_feature_is_described_under_its_own_name() -> None:
    for name, feature in FEATURE_SPECS.items():
        assert feature.name == name
        assert feature.description.endswith(".")
        assert feature.range[0] < feature.range[1]
