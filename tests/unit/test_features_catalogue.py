"""The catalogue says what every feature is."""

import numpy as np

from shotwatch_features.domain.beam import measure_beams
from shotwatch_features.domain.catalogue import FEATURES
from shotwatch_features.domain.energy import measure_energies
from shotwatch_features.domain.spectrum import measure_spectra


def test_the_catalogue_lists_exactly_what_is_measured() -> None:
    measured = {
        **measure_beams(np.zeros((1, 4, 4), np.uint16), saturated_at=4092),
        **measure_spectra(np.zeros((1, 8), np.float32)),
        **measure_energies(np.zeros(1), np.zeros(1)),
    }
    assert list(FEATURES) == list(measured)


def test_every_feature_is_described_under_its_own_name() -> None:
    for name, feature in FEATURES.items():
        assert feature.name == name
        assert feature.description.endswith(".")
        assert feature.range[0] < feature.range[1]
