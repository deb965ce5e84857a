"""Every feature and score of a shot: its meaning, unit, range and source, and how it indicates an anomaly.

A spectrum that gets narrower raises the peak power above what optics tolerate; one that gets broader does
not. Features without an indicator are not judged: an orientation has no meaning for a round beam, the
brightest pixel is noise on top of what `hot_spot` measures, and saturation has a rule.
"""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from shotwatch_shots.device_kinds import DEVICE_KINDS
from shotwatch_shots.features.spec import FeatureSpec, Indicator

_KINDS = DEVICE_KINDS.values()
FEATURE_SPECS: Mapping[str, FeatureSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in chain(*(kind.measured for kind in _KINDS), *(kind.scores for kind in _KINDS))
    }
)
"""What is measured of all kinds of devices, then the scores of models."""
INDICATORS: Mapping[str, Indicator] = MappingProxyType(
    {name: spec.indicator for name, spec in FEATURE_SPECS.items() if spec.indicator is not None}
)
"""The judged features and scores."""
