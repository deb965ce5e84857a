"""The kinds of anomaly that can be injected, and the injections: a kind, its devices and its pulses."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Interval
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import Times
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.noise import Floats


class Kind(StrEnum):
    """The kinds of anomaly that can be injected into snapshot files."""

    HOT_SPOT = "hot_spot"
    DARK_SPOT = "dark_spot"
    FRINGES = "fringes"
    CLIPPING = "clipping"
    GHOST = "ghost"
    SATURATED_FRAME = "saturated_frame"
    BLACK_FRAME = "black_frame"
    FROZEN_FRAME = "frozen_frame"
    DEAD_PIXEL = "dead_pixel"
    HOT_PIXEL = "hot_pixel"
    DEAD_COLUMN = "dead_column"
    POINTING_STEP = "pointing_step"
    POINTING_DRIFT = "pointing_drift"
    DEFOCUS = "defocus"
    ELLIPTICITY = "ellipticity"
    ENERGY_DROP = "energy_drop"
    ENERGY_DRIFT = "energy_drift"
    ENERGY_DISAGREEMENT = "energy_disagreement"
    LOW_BANDWIDTH = "low_bandwidth"
    WAVELENGTH_SHIFT = "wavelength_shift"
    SPECTRAL_HOLE = "spectral_hole"
    SPECTRUM_LOSS = "spectrum_loss"
    FAULT = "fault"
    UNREACHABLE = "unreachable"
    STATE_CHATTER = "state_chatter"
    MISSING_SAMPLE = "missing_sample"
    MISSING_DEVICE = "missing_device"
    CLOCK_SKEW = "clock_skew"
    EMPTY_FILE = "empty_file"
    NOT_HDF5_FILE = "not_hdf5_file"
    TRUNCATED_FILE = "truncated_file"


@dataclass(frozen=True, slots=True)
class Trait:
    """Common properties of all anomalies of a kind."""

    expected: AnomalyKind
    """The kind that a detector should report."""
    severity: float
    """The default."""
    meaning: str
    """The meaning of the severity."""
    target: DeviceKind | None = None
    """The kind of device that it affects; None: any."""
    everywhere: bool = False
    """It is a property of the pulse: it affects every device of the place that can measure it."""
    whole_file: bool = False
    """It affects a file, and so all pulses in it."""


CAMERA, SPECTRO, METER = DeviceKind.CAMERA, DeviceKind.SPECTRO, DeviceKind.ENERGY_METER

TRAITS: dict[Kind, Trait] = {
    Kind.HOT_SPOT: Trait(AnomalyKind.HOT_SPOT, 0.2, "amplitude over the frame's peak", CAMERA),
    Kind.DARK_SPOT: Trait(AnomalyKind.PROFILE, 0.5, "share of the light taken in its middle", CAMERA),
    Kind.FRINGES: Trait(AnomalyKind.PROFILE, 0.2, "modulation depth", CAMERA),
    Kind.CLIPPING: Trait(AnomalyKind.PROFILE, 0.3, "share of the beam's diameter cut off", CAMERA),
    Kind.GHOST: Trait(AnomalyKind.PROFILE, 0.1, "brightness over the beam's", CAMERA),
    Kind.SATURATED_FRAME: Trait(AnomalyKind.SATURATED_FRAME, 4.0, "brightness over normal", CAMERA),
    Kind.BLACK_FRAME: Trait(AnomalyKind.BLACK_FRAME, 1.0, "share of the light lost", CAMERA),
    Kind.FROZEN_FRAME: Trait(AnomalyKind.FROZEN_FRAME, 1.0, "none: it repeats or it does not", CAMERA),
    Kind.DEAD_PIXEL: Trait(AnomalyKind.PROFILE, 1.0, "share of the counts lost", CAMERA),
    Kind.HOT_PIXEL: Trait(AnomalyKind.HOT_SPOT, 0.9, "counts over the sensor's limit", CAMERA),
    Kind.DEAD_COLUMN: Trait(AnomalyKind.PROFILE, 1.0, "share of the counts lost", CAMERA),
    Kind.POINTING_STEP: Trait(AnomalyKind.POINTING, 5.0, "px", CAMERA),
    Kind.POINTING_DRIFT: Trait(AnomalyKind.POINTING, 5.0, "px at the last pulse", CAMERA),
    Kind.DEFOCUS: Trait(AnomalyKind.BEAM_SIZE, 0.2, "growth of both radii", CAMERA),
    Kind.ELLIPTICITY: Trait(AnomalyKind.BEAM_SIZE, 0.2, "growth of one radius, the other shrinks", CAMERA),
    Kind.ENERGY_DROP: Trait(AnomalyKind.ENERGY, 0.3, "share of the energy lost", everywhere=True),
    Kind.ENERGY_DRIFT: Trait(AnomalyKind.ENERGY, 0.3, "share lost at the last pulse", everywhere=True),
    Kind.ENERGY_DISAGREEMENT: Trait(AnomalyKind.ENERGY_DISAGREEMENT, 0.4, "share lost by energy2", METER),
    Kind.LOW_BANDWIDTH: Trait(
        AnomalyKind.BANDWIDTH, 0.3, "share of the width lost", SPECTRO, everywhere=True
    ),
    Kind.WAVELENGTH_SHIFT: Trait(AnomalyKind.WAVELENGTH, 30.0, "px of the line", SPECTRO, everywhere=True),
    Kind.SPECTRAL_HOLE: Trait(AnomalyKind.SPECTRUM, 0.5, "depth", SPECTRO, everywhere=True),
    Kind.SPECTRUM_LOSS: Trait(AnomalyKind.SPECTRUM, 1.0, "share of the counts lost", SPECTRO),
    Kind.FAULT: Trait(AnomalyKind.DEVICE_STATE, 1.0, "none: the state is FAULT"),
    Kind.UNREACHABLE: Trait(AnomalyKind.DEVICE_STATE, 1.0, "none: the state is UNREACHABLE"),
    Kind.STATE_CHATTER: Trait(AnomalyKind.DEVICE_STATE, 1.0, "none: FAULT at every other pulse"),
    Kind.MISSING_SAMPLE: Trait(AnomalyKind.MISSING_MEMBER, 1.0, "none: no record"),
    Kind.MISSING_DEVICE: Trait(AnomalyKind.MISSING_MEMBER, 1.0, "none: no file", whole_file=True),
    Kind.CLOCK_SKEW: Trait(AnomalyKind.MISSING_MEMBER, 1.0, "pulses by which the device is late"),
    Kind.EMPTY_FILE: Trait(AnomalyKind.MISSING_MEMBER, 1.0, "none: zero bytes", whole_file=True),
    Kind.NOT_HDF5_FILE: Trait(AnomalyKind.MISSING_MEMBER, 1.0, "none: other bytes", whole_file=True),
    Kind.TRUNCATED_FILE: Trait(AnomalyKind.MISSING_MEMBER, 0.5, "share of the bytes lost", whole_file=True),
}

GROSS = (
    Kind.MISSING_SAMPLE,
    Kind.FROZEN_FRAME,
    Kind.BLACK_FRAME,
    Kind.SATURATED_FRAME,
    Kind.FAULT,
    Kind.HOT_SPOT,
    Kind.ENERGY_DROP,
    Kind.LOW_BANDWIDTH,
)
"""The kinds that must not be missed, at their default severities."""

_DRIFTS = (Kind.POINTING_DRIFT, Kind.ENERGY_DRIFT)


@dataclass(frozen=True, slots=True)
class Injection:
    """One anomaly: from `pulse` (epoch ms, on the grid) on, it affects `count` pulses of these devices."""

    kind: Kind
    place: Place
    interval: Interval
    devices: tuple[str, ...]
    """Group names."""
    pulse: int
    count: int
    severity: float
    """See `Trait.meaning`."""

    @property
    def series(self) -> ShotSeries:
        return ShotSeries(place=self.place, interval=self.interval.name)

    @property
    def pulses(self) -> Times:
        period = self.interval.period_ms
        return self.pulse + np.arange(self.count, dtype=np.int64) * period

    def hits(self, pulses: Times) -> NDArray[np.bool_]:
        """Return which of the pulses are affected."""
        hit: NDArray[np.bool_] = (pulses >= self.pulse) & (pulses <= self.pulses[-1])
        return hit

    def strength(self, pulses: Times) -> Floats:
        """Return the severity at each pulse, 0 where unaffected; a drift grows linearly to its severity."""
        strength = self.severity * self.hits(pulses).astype(np.float64)
        if self.kind in _DRIFTS:
            strength *= (pulses - self.pulse + self.interval.period_ms) / (
                self.count * self.interval.period_ms
            )
        return strength

    def every_other(self, pulses: Times) -> NDArray[np.bool_]:
        """Return which of the pulses are an even number of periods after the first one."""
        even: NDArray[np.bool_] = (pulses - self.pulse) // self.interval.period_ms % 2 == 0
        return even


Injections = Sequence[Injection]


def anomalous_pulses(injection: Injection) -> Times:
    """Return the pulses whose shots should be reported as anomalous.

    A device whose clock is late by n pulses leaves no record at the first n pulses. At the other pulses it
    leaves records of other shots, which cannot be distinguished from its own. A device with state chatter is
    in FAULT at every second pulse.
    """
    pulses = injection.pulses
    if injection.kind is Kind.CLOCK_SKEW:
        return pulses[: round(injection.severity)]
    if injection.kind is Kind.STATE_CHATTER:
        return pulses[injection.every_other(pulses)]
    return pulses
