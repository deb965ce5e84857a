"""Shots as devices record them, and the random properties of a batch before it is recorded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_benchmark.lasers import Laser
from shotwatch_detector.arrays import Frames
from shotwatch_shots.pulses import Times
from shotwatch_simulator import noise
from shotwatch_simulator.noise import Floats, Images

E2 = float(np.exp(-2))
"""The beam is where the mean frame is above this share of its peak (ISO 11146)."""
STRETCHES = 20
"""Number of time blocks of a laser that has only one frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A time block of a laser. A shot is a pure function of the scene and its pulse."""

    laser: Laser
    frames: NDArray[np.intp]
    """The laser's frames of that block."""
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class SceneBatch:
    """A batch of pulses of a scene, and the random properties of each of them."""

    scene: Scene
    pulses: Times

    def uniform(self, what: str, low: float = 0.0, high: float = 1.0) -> Floats:
        """Return a uniform random number between `low` and `high` for each pulse: (n,)."""
        return low + (high - low) * noise.uniform(self.pulses, self.scene.seed, self.scene.laser.name, what)

    def normal(self, what: str) -> Floats:
        """Return a normal deviate for each pulse: (n,)."""
        return noise.normal(self.pulses, self.scene.seed, self.scene.laser.name, what)

    def drift(self, what: str) -> Floats:
        """Return a slow wave between -1 and 1: (n,)."""
        return noise.drift(self.pulses, self.scene.seed, self.scene.laser.name, what)

    def either_way(self) -> Floats:
        """Return -1 or 1 for each pulse: (n,)."""
        return np.where(self.uniform("way") < 0.5, -1.0, 1.0)

    @property
    def frames(self) -> NDArray[np.intp]:
        """The recorded frame that each pulse shows: (n,)."""
        choice = (self.uniform("frame") * len(self.scene.frames)).astype(np.intp)
        return self.scene.frames[choice]

    @property
    def blocks(self) -> NDArray[np.intp]:
        """The block of each shot: its frame, or its stretch of time if there is only one frame: (n,)."""
        if len(self.scene.frames) > 1:
            return self.frames
        return (self.pulses // 60_000 % STRETCHES).astype(np.intp)

    def inside_beam(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return a row and a column in the beam for each pulse: (n,) each."""
        mean = self.scene.laser.mean
        rows, columns = np.nonzero(mean > E2 * mean.max())
        choice = (self.uniform("where") * len(rows)).astype(np.intp)
        return rows[choice], columns[choice]


@dataclass(frozen=True, slots=True, eq=False)
class BeamChange:
    """The energy of n pulses, and how the beam of each differs from its recorded frame."""

    energy: Floats
    """1 = nominal: (n,)."""
    shifts: NDArray[np.intp]
    """Down and right, native px: (n, 2)."""
    blur: float | None = None
    """Defocus: standard deviation of a Gaussian (px)."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedShots:
    """The data that the devices of a place recorded of n shots."""

    frames: Frames
    """(n, h, w)"""
    spectra: Images
    """(n, m)"""
    energy1: Floats
    energy2: Floats
    """Both halves of the meter (J): (n,)."""
    blocks: NDArray[np.intp]
    """Shots of the same block are alike: (n,)."""
