"""The list of feature terms says what every feature is."""

import numpy as np

from shotwatch_common.feature_terms import FEATURE_TERMS, SCORES
from shotwatch_physics.beam import measure_beams
from shotwatch_physics.energy import measure_energies
from shotwatch_physics.spectrum import measure_spectra


def test_the_terms_list_exactly_what_is_measured_and_scored() -> None:
    measured = {
        **measure_beams(np.zeros((1, 4, 4), np.uint16), saturated_at=4092),
        **measure_spectra(np.zeros((1, 8), np.float32)),
        **measure_energies(np.zeros(1), np.zeros(1)),
    }
    assert list(FEATURE_TERMS) == [*measured, *(score.name for score in SCORES)]


def test_every_feature_is_described_under_its_own_name() -> None:
    for name, feature in FEATURE_TERMS.items():
        assert feature.name == name
        assert feature.description.endswith(".")
        assert feature.range[0] < feature.range[1]
