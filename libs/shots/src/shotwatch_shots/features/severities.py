"""How large a deviation must be to need attention, for each feature that raises alarms: in physical units.

Whether a deviation is an anomaly is a matter of its probability. How soon operators should react is a matter
of its size: a camera with little noise shows a hot spot of 1 % of the peak that no optic feels.
docs/detection.md has the reasons for the figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from shotwatch_shots.features.catalogue import INDICATORS
from shotwatch_shots.features.spec import Side
from shotwatch_shots.vocabulary import Severity


@dataclass(frozen=True, slots=True)
class SeverityLimits:
    """The smallest sizes of a deviation that make it an event at all, a warning, and critical.

    A size is a share of the reference for features that operators read in percent, a share of the peak for
    spots, otherwise in the feature's unit.
    """

    least: float
    """A smaller deviation is no event, however improbable: noise hides it, or nobody acts on it."""
    warning: float
    critical: float = inf
    critical_side: Side = Side.BOTH
    """The direction of the deviations that can be critical."""

    def severity_of(self, size: float) -> Severity:
        """Return the severity of a deviation; `size` is negative if it is below the reference."""
        dangerous = {Side.BOTH: abs(size), Side.HIGH: size, Side.LOW: -size}[self.critical_side]
        if dangerous >= self.critical:
            return Severity.CRITICAL
        return Severity.WARNING if abs(size) >= self.warning else Severity.INFO


_HOT_SPOT = SeverityLimits(least=0.0005, warning=0.03, critical=0.05)
_DARK_SPOT = SeverityLimits(least=0.0005, warning=0.05)
_BRIGHT_PIXEL = SeverityLimits(least=0.005, warning=0.27, critical=0.45)
_LINE = SeverityLimits(least=0.0005, warning=0.05)
_POINTING = SeverityLimits(least=0.1, warning=2.0)
_BEAM_WIDTH = SeverityLimits(least=0.01, warning=0.05)
_ENERGY = SeverityLimits(least=0.01, warning=0.03, critical=0.2, critical_side=Side.HIGH)
_BANDWIDTH = SeverityLimits(least=0.005, warning=0.03, critical=0.1, critical_side=Side.LOW)

SEVERITY_LIMITS: Mapping[str, SeverityLimits] = MappingProxyType(
    {
        # Hot spot: share of the peak, smoothed over 5 px.
        "hot_spot": _HOT_SPOT,
        "excess": _HOT_SPOT,
        # A single pixel with as much light as a spot of that size after smoothing: share of the peak.
        "pixel_excess": _BRIGHT_PIXEL,
        # Profile: share of the peak; share of the usual residual; counts; pixels.
        "dark_spot": _DARK_SPOT,
        "deficit": _DARK_SPOT,
        "pixel_deficit": SeverityLimits(least=0.005, warning=0.45),
        "column_excess": _LINE,
        "column_deficit": _LINE,
        "row_excess": _LINE,
        "row_deficit": _LINE,
        "residual": SeverityLimits(least=0.02, warning=0.5),
        "background": SeverityLimits(least=0.1, warning=5.0),
        "dead_pixels": SeverityLimits(least=1.0, warning=5.0),
        # Pointing: px.
        "centroid_x": _POINTING,
        "centroid_y": _POINTING,
        # Beam size: share of the reference; the ellipticity itself.
        "d4sigma_major": _BEAM_WIDTH,
        "d4sigma_minor": _BEAM_WIDTH,
        "ellipticity": SeverityLimits(least=0.01, warning=0.05),
        "sharpness": SeverityLimits(least=0.005, warning=0.1),
        # Energy: share of the reference.
        "total_intensity": _ENERGY,
        "energy": _ENERGY,
        # Share of the mean of the two energies.
        "energy_disagreement": SeverityLimits(least=0.01, warning=0.1),
        # Bandwidth: share of the reference.
        "spectrum_rms_width": _BANDWIDTH,
        "spectrum_fwhm": _BANDWIDTH,
        # Wavelength: samples of the spectrometer.
        "spectrum_centroid": SeverityLimits(least=0.5, warning=5.0),
        # Spectrum: share of the reference; depth as a share of the peak.
        "spectrum_sum": SeverityLimits(least=0.01, warning=0.1),
        "spectrum_hole_depth": SeverityLimits(least=0.01, warning=0.1),
    }
)
"""Feature → its limits, for each feature that raises alarms."""


def least_deviation(feature: str, reference: float) -> float:
    """Return the smallest deviation from a reference that is an event, in the feature's unit.

    It is 0 for features that raise no alarm, and for the scores of spots, whose size is another feature.
    """
    if feature not in SEVERITY_LIMITS or INDICATORS[feature].spot_size:
        return 0.0
    return SEVERITY_LIMITS[feature].least * (1.0 if INDICATORS[feature].in_unit else abs(reference))
