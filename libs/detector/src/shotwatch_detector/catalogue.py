"""The judged features and scores: the kind of anomaly that each indicates, and its smallest spread."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from shotwatch_shots.vocabulary import AnomalyKind


class Side(StrEnum):
    """The direction in which deviations from the reference are anomalous."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A feature as an indicator of an anomaly."""

    kind: AnomalyKind | None
    """None for a feature that explains others and raises no alarm itself."""
    unit: str
    floor: float = 0.0
    """Smallest standard deviation, in the feature's unit."""
    relative_floor: float = 0.0
    """Smallest standard deviation, as a share of the reference."""
    side: Side = Side.BOTH


def _relative(kind: AnomalyKind, unit: str) -> FeatureSpec:
    return FeatureSpec(kind, unit, relative_floor=0.01)


def _explaining(unit: str) -> FeatureSpec:
    return FeatureSpec(None, unit, relative_floor=0.01)


FEATURE_SPECS: Mapping[str, FeatureSpec] = MappingProxyType(
    {
        "total_intensity": _relative(AnomalyKind.ENERGY, "counts"),
        "energy": _relative(AnomalyKind.ENERGY, "J"),
        "centroid_x": FeatureSpec(AnomalyKind.POINTING, "px", floor=0.1),
        "centroid_y": FeatureSpec(AnomalyKind.POINTING, "px", floor=0.1),
        "d4sigma_major": _relative(AnomalyKind.BEAM_SIZE, "px"),
        "d4sigma_minor": _relative(AnomalyKind.BEAM_SIZE, "px"),
        "ellipticity": FeatureSpec(AnomalyKind.BEAM_SIZE, "", floor=0.01),
        "spectrum_rms_width": FeatureSpec(AnomalyKind.BANDWIDTH, "px", relative_floor=0.01, side=Side.LOW),
        "spectrum_fwhm": FeatureSpec(AnomalyKind.BANDWIDTH, "px", relative_floor=0.01, side=Side.LOW),
        "spectrum_centroid": FeatureSpec(AnomalyKind.WAVELENGTH, "px", floor=0.5),
        "spectrum_sum": _relative(AnomalyKind.SPECTRUM, "counts"),
        "hot_spot": FeatureSpec(AnomalyKind.HOT_SPOT, "σ", floor=0.5, side=Side.HIGH),
        "dark_spot": FeatureSpec(AnomalyKind.PROFILE, "σ", floor=0.5, side=Side.HIGH),
        "residual": FeatureSpec(AnomalyKind.PROFILE, "px", relative_floor=0.02, side=Side.HIGH),
        "excess": FeatureSpec(AnomalyKind.HOT_SPOT, "σ", floor=0.3, side=Side.HIGH),
        "deficit": FeatureSpec(AnomalyKind.PROFILE, "σ", floor=0.3, side=Side.HIGH),
        "sharpness": FeatureSpec(AnomalyKind.BEAM_SIZE, "", relative_floor=0.02, side=Side.LOW),
        "background": FeatureSpec(AnomalyKind.PROFILE, "counts", floor=0.1),
        "dead_pixels": FeatureSpec(AnomalyKind.PROFILE, "pixels", floor=1.0, side=Side.HIGH),
        "spectrum_hole_depth": FeatureSpec(AnomalyKind.SPECTRUM, "", floor=0.005, side=Side.HIGH),
        "structure": _explaining("σ"),
        "effective_area": _explaining("px²"),
        "fluence_uniformity": _explaining(""),
        "flatness": _explaining(""),
        "plateau_uniformity": _explaining(""),
        "edge_steepness": _explaining(""),
        "peak_to_average": _explaining(""),
        "encircled_radius_50": _explaining("px"),
        "encircled_radius_86": _explaining("px"),
        "spot_excess": _explaining(""),
        "hole_deficit": _explaining(""),
        "spectrum_width_e2": _explaining("px"),
    }
)
"""A floor keeps a feature that hardly varied during training from raising an alarm when it starts to vary.

A spectrum that gets narrower raises the peak power above what optics tolerate; one that gets broader does
not. Features that are not listed are not judged: an orientation has no meaning for a round beam, the
brightest pixel is noise on top of what `hot_spot` measures, and saturation and the disagreement of a meter
have rules.
"""
