"""Every feature that the service measures, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from shotwatch_features.domain.beam import BEAM_FEATURES
from shotwatch_features.domain.energy import ENERGY_FEATURES
from shotwatch_features.domain.feature import Feature
from shotwatch_features.domain.spectrum import SPECTRUM_FEATURES

FEATURES: Mapping[str, Feature] = MappingProxyType(
    {feature.name: feature for feature in (*BEAM_FEATURES, *SPECTRUM_FEATURES, *ENERGY_FEATURES)}
)
