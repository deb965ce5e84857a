"""Slow changes: when the level of a feature changed by more than its usual variation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.history import ChangePoint, against_own_past, change_points
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.features.catalogue import FEATURE_SPECS
from shotwatch_shots.features.severities import least_deviation
from shotwatch_shots.pulses import instant
from shotwatch_shots.vocabulary import Severity

WATCHED: Mapping[DeviceKind, tuple[str, ...]] = {
    DeviceKind.CAMERA: (
        "total_intensity",
        "centroid_x",
        "centroid_y",
        "d4sigma_major",
        "d4sigma_minor",
        "background",
    ),
    DeviceKind.SPECTRO: ("spectrum_sum", "spectrum_centroid", "spectrum_rms_width"),
    DeviceKind.ENERGY_METER: ("energy",),
}
"""The slow quantities of each kind of device that has any."""

SURE = 0.999
"""Minimum confidence of a change point that is reported: noise exceeds it in one series in a thousand."""
MATTERS = 3.0
"""Minimum change that matters, in multiples of the smallest deviation of a feature that is an event."""
CLEAR = 3.0
"""Minimum change for a warning, in multiples of the minimum change that matters."""

Times = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shift:
    """A lasting change of one feature of one device."""

    device: str
    feature: str
    time: int
    """Epoch ms of the first batch after the change."""
    before: float
    after: float
    sigmas: float
    """after - before, in standard deviations of a batch's median."""
    weight: float
    """|after - before| in multiples of the minimum change that matters, > 1."""
    percentile: float
    """Share of the medians before the change that lie below the level after it, 0 to 100."""

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self.weight > CLEAR else Severity.INFO

    @property
    def why(self) -> str:
        """One sentence for the person on shift."""
        unit = FEATURE_SPECS[self.feature].unit
        name = self.feature.replace("_", " ")
        side = "above" if self.after > self.before else "below"
        beyond = self.percentile if self.after > self.before else 100 - self.percentile
        since = f"{instant(self.time):%Y-%m-%d %H:%M} UTC"
        return (
            f"{name} of {self.device} has been {self.after:.4g} {unit} since {since}, "
            f"{self.before:.4g} {unit} before; {side} {beyond:.0f} % of what it was"
        ).replace("  ", " ")


def find_shift(device: str, feature: str, times: Times, values: Values) -> Shift | None:
    """Return the first lasting change in a series of medians (n,) that is certain and matters, or None.

    Args:
        device: group name of the device.
        feature: one of WATCHED.
        times: epoch ms, ascending.
        values: in the feature's unit; NaN where nothing was measured.
    """
    for change in change_points(times, values):
        weight = abs(change.after - change.before) / (MATTERS * least_deviation(feature, change.before))
        if change.confidence > SURE and weight > 1:
            return _shift(device, feature, change, weight, values[times < change.time_ms])
    return None


def _shift(device: str, feature: str, change: ChangePoint, weight: float, past: Values) -> Shift:
    percentile = float(against_own_past(np.array([change.after]), past).percentile[0])
    return Shift(
        device,
        feature,
        change.time_ms,
        change.before,
        change.after,
        change.sigmas,
        weight,
        percentile,
    )
