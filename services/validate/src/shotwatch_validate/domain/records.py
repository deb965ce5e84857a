"""The records of one device as validation sees them: states, problems of reading, and digests of the data."""

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
    """Pixels at or above the facility's saturation level."""
    fingerprint: Counts
    """Equal for frames that are equal."""


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
    """What reading found wrong with one record."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Records:
    """n records of one device, in the order of time."""

    device: str
    """Its group name."""
    states: Sequence[str]
    """The states that occur."""
    state: Counts
    """(n,) index into `states`, -1 where there is none."""
    problems: Sequence[Problem]
    data: Data | None
    """None for devices without data of their own."""
