"""The history of the facility, as arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_detector.arrays import Features, Frames

Times = NDArray[np.int64]
"""Epoch ms of pulses, ascending: (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaceHistory:
    """Normal shots of one place of the chain."""

    place: str
    times: Times
    features: dict[str, Features]
    """Device → feature → its value per shot (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraHistory:
    """Frames of one camera in normal shots."""

    device: str
    times: Times
    frames: Frames
    """(n, h, w), in the order of `times`."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Normal shots of all places, and frames of a sample of them."""

    places: tuple[PlaceHistory, ...]
    cameras: tuple[CameraHistory, ...]

    @property
    def times(self) -> Times:
        """Epoch ms of the shots of all places together, ascending."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *(place.times for place in self.places)]))
