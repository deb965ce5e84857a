"""Every feature and score of a shot: its meaning, unit, range and source, and how it indicates an anomaly.

A spectrum that gets narrower raises the peak power above what optics tolerate; one that gets broader does
not. Features without an indicator are not judged: an orientation has no meaning for a round beam, the
brightest pixel is noise on top of what `hot_spot` measures, and saturation has a rule.
"""

from collections.abc import Mapping
from types import MappingProxyType

from shotwatch_shots.features.beam import BEAM_FEATURES, POINTING_FEATURES
from shotwatch_shots.features.detailed import DETAILED_FEATURES
from shotwatch_shots.features.energy import ENERGY_FEATURES
from shotwatch_shots.features.scores import SCORES
from shotwatch_shots.features.spec import FeatureSpec, Indicator
from shotwatch_shots.features.spectrum import SPECTRUM_FEATURES
from shotwatch_shots.vocabulary import DeviceKind

FEATURE_SPECS: Mapping[str, FeatureSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            *BEAM_FEATURES,
            *POINTING_FEATURES,
            *DETAILED_FEATURES,
            *SPECTRUM_FEATURES,
            *ENERGY_FEATURES,
            *SCORES,
        )
    }
)
FEATURES_OF_KIND: Mapping[DeviceKind, tuple[FeatureSpec, ...]] = MappingProxyType(
    {
        DeviceKind.CAMERA: (*BEAM_FEATURES, *POINTING_FEATURES, *DETAILED_FEATURES, *SCORES),
        DeviceKind.SPECTRO: SPECTRUM_FEATURES,
        DeviceKind.ENERGY_METER: ENERGY_FEATURES,
        DeviceKind.OTHER: (),
    }
)
"""Kind of device → what is measured of it, and how a model scores it."""
INDICATORS: Mapping[str, Indicator] = MappingProxyType(
    {name: spec.indicator for name, spec in FEATURE_SPECS.items() if spec.indicator is not None}
)
"""The judged features and scores."""
