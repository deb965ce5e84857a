"""How far a device has drifted from the data that the champion was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """Recent values of a feature or score, compared with the training period."""

    centre: float
    """Median in the training period, in the feature's unit."""
    median: float
    """Recent median."""
    shift: float
    """median - centre, in robust standard deviations of the training period."""
    beyond: float | None
    """Fraction of the newest shots more than three such deviations from the centre; None without shots."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one device, as of its newest data."""

    device: str
    version: str
    """Version of the champion."""
    start: int
    """Time of the first data used, epoch ms."""
    end: int
    """Time of the first shot of the newest batch, epoch ms."""
    features: Mapping[str, FeatureDrift]
