"""The records of one device for validation: states, problems found on reading, digests of the data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Frames:
    """Digests of n camera frames."""

    minimum: Floats
    maximum: Floats
    saturated: Counts
    """Number of pixels at or above the facility's saturation level."""
    fingerprint: Counts
    """Equal for equal frames."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """Digests of n spectra; NaN where a value of the spectrum is not finite."""

    minimum: Floats
    maximum: Floats
    total: Floats


@dataclass(frozen=True, slots=True)
class Energies:
    """n pairs of energies; NaN where there is none."""

    energy1: Floats
    energy2: Floats


Data = Frames | Spectra | Energies


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with one record that was found on reading."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Records:
    """n records of one device, in order of time."""

    device: str
    """Group name of the device."""
    states: Sequence[str]
    """The states that occur."""
    state: Counts
    """(n,) index into `states`, -1 where there is none."""
    problems: Sequence[Problem]
    data: Data | None
    """None for devices without data of their own."""
