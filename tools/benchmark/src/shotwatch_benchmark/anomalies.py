"""The classes of anomaly, their severities, and what each does to a shot.

Each anomaly acts where its physical cause would: on the beam, in the optics or on the sensor, before or after
photon noise. A severity of zero leaves every bit unchanged. Place and direction are drawn anew for each shot;
a drift is judged at a random time within it. The simulator's injections are not used here: they keep one
place for all shots of an injection, and their clipping cuts the outer parts of the beam even at severity
zero.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_benchmark.lasers import LIMIT, SHAPE
from shotwatch_benchmark.scenes import BeamChange, SceneBatch
from shotwatch_detector.arrays import Frames
from shotwatch_simulator.noise import Floats, Images
from shotwatch_simulator.spectra import Colour

HOT_SPOT_RADIUS = 1.5
DUST_RADIUS = 2.5
"""Standard deviation, px."""
FAINTEST = 0.01
"""Share of the peak. Fainter light does not count as beam: an edge may cut it without clipping the beam."""
FRINGE_PERIODS = (6.0, 12.0)
"""px"""
GHOST_OFFSETS = (0.8, 1.2)
"""Relative to the beam's radius."""
HOLE_WIDTH = 0.01
HOLE_PLACES = (0.42, 0.58)
"""Relative to the length of the spectrometer's line."""


class Stage(Enum):
    """The data that an anomaly changes."""

    BEAM = auto()
    LIGHT = auto()
    """On the camera, before photon noise: (n, h, w)."""
    FRAMES = auto()
    COLOUR = auto()
    LINE = auto()
    """Light on the spectrometer's line, before photon noise: (n, m)."""
    ENERGY2 = auto()


Inject = Callable[[Any, SceneBatch, float], Any]
"""(data of its stage, shots, severity) → the changed data."""


@dataclass(frozen=True, slots=True)
class Target:
    """The recall that the detector must reach at one false alarm an hour."""

    severity: float
    recall: float


@dataclass(frozen=True, slots=True)
class AnomalyClass:
    """A class of anomaly."""

    name: str
    meaning: str
    """The meaning of the severity."""
    stage: Stage
    inject: Inject
    severities: tuple[float, ...]
    """Ascending, without zero."""
    target: Target | None = None
    needs_mean: bool = False
    """It cannot be injected into a laser with only one frame, because it needs the mean of several frames."""

    def alter(self, stage: Stage, value: Any, batch: SceneBatch, severity: float) -> Any:
        """Return the data of the shots at a stage, changed if this class acts on that stage."""
        return self.inject(value, batch, severity) if stage is self.stage else value


def _spots(batch: SceneBatch, radius: float) -> Images:
    """Return a Gaussian of height 1 at a random place in the beam of each shot: (n, h, w)."""
    profiles = [
        np.exp(-(((np.arange(length) - middle[:, None]) / radius) ** 2) / 2).astype(np.float32)
        for length, middle in zip(SHAPE, batch.inside_beam(), strict=True)
    ]
    spots: Images = profiles[0][:, :, None] * profiles[1][:, None, :]
    return spots


def _hot_spot(light: Images, batch: SceneBatch, severity: float) -> Images:
    amplitude = np.float32(severity * batch.scene.laser.mean.max())
    brighter: Images = light + amplitude * _spots(batch, HOT_SPOT_RADIUS)
    return brighter


def _dust(light: Images, batch: SceneBatch, severity: float) -> Images:
    darker: Images = light * (1 - np.float32(severity) * _spots(batch, DUST_RADIUS))
    return darker


def _fringes(light: Images, batch: SceneBatch, severity: float) -> Images:
    """Apply fringes to the light.

    The pattern uses cos(a + b) = cos a cos b - sin a sin b, with a along the columns and b along the rows.
    """
    angle, phase = (batch.uniform(what, 0, 2 * np.pi) for what in ("angle", "phase"))
    wave = 2 * np.pi / batch.uniform("period", *FRINGE_PERIODS)
    across = np.arange(SHAPE[1]) * (wave * np.cos(angle))[:, None] + phase[:, None]
    down = np.arange(SHAPE[0]) * (wave * np.sin(angle))[:, None]
    pattern = np.cos(down)[:, :, None] * np.cos(across)[:, None, :]
    pattern -= np.sin(down)[:, :, None] * np.sin(across)[:, None, :]
    fringed: Images = light * (1 + severity * pattern).astype(np.float32)
    return fringed


def _clipping(light: Images, batch: SceneBatch, severity: float) -> Images:
    """Move a sharp edge in from one of the four sides until it cuts this share of the mean beam's light."""
    mean = batch.scene.laser.mean
    beam = np.where(mean > FAINTEST * mean.max(), mean, 0)
    columns, rows = beam.sum(axis=0), beam.sum(axis=1)
    from_left, from_right = _behind_edge(columns, severity), _behind_edge(columns[::-1], severity)[::-1]
    from_top, from_bottom = _behind_edge(rows, severity), _behind_edge(rows[::-1], severity)[::-1]
    across, down = np.ones_like(from_left), np.ones_like(from_top)
    sides = np.stack(
        [
            np.outer(down, from_left),
            np.outer(down, from_right),
            np.outer(from_top, across),
            np.outer(from_bottom, across),
        ]
    )
    clipped: Images = light * sides[(batch.uniform("side") * len(sides)).astype(np.intp)]
    return clipped


def _behind_edge(profile: NDArray[np.float32], share: float) -> Images:
    """Return the transmission along a profile of light that removes this share of it from the start."""
    before = np.cumsum(profile, dtype=np.float64) - profile
    lost = np.clip((share * profile.sum(dtype=np.float64) - before) / np.maximum(profile, 1e-9), 0, 1)
    transmission: Images = (1 - lost).astype(np.float32)
    return transmission


def _ghost(light: Images, batch: SceneBatch, severity: float) -> Images:
    """Add a weak copy of the beam beside it, on the side with more room."""
    columns = np.arange(SHAPE[1])
    profile = batch.scene.laser.mean.sum(axis=0)
    middle = np.average(columns, weights=profile)
    radius = 2 * np.sqrt(np.average((columns - middle) ** 2, weights=profile))
    offsets = np.rint(radius * batch.uniform("offset", *GHOST_OFFSETS)).astype(np.intp)
    source = columns - (offsets if middle < SHAPE[1] / 2 else -offsets)[:, None]
    inside = (source >= 0) & (source < SHAPE[1])
    copy = np.take_along_axis(light, np.where(inside, source, 0)[:, None, :], axis=2)
    doubled: Images = light + np.float32(severity) * copy * inside[:, None, :]
    return doubled


def _saturation(light: Images, _: SceneBatch, severity: float) -> Images:
    return light * np.float32(1 + severity)


def _dead_pixel(frames: Frames, batch: SceneBatch, severity: float) -> Frames:
    return _at(frames, batch, 1 - severity, 0)


def _hot_pixel(frames: Frames, batch: SceneBatch, severity: float) -> Frames:
    return _at(frames, batch, 1, severity * LIMIT)


def _at(frames: Frames, batch: SceneBatch, gain: float, offset: float) -> Frames:
    """Change the value of one pixel in the beam of each frame."""
    frames, (rows, columns) = frames.copy(), batch.inside_beam()
    shots = np.arange(len(frames))
    frames[shots, rows, columns] = np.clip(np.rint(gain * frames[shots, rows, columns] + offset), 0, LIMIT)
    return frames


def _dead_column(frames: Frames, batch: SceneBatch, severity: float) -> Frames:
    frames, shots = frames.copy(), np.arange(len(frames))
    _, columns = batch.inside_beam()
    frames[shots, :, columns] = np.rint((1 - severity) * frames[shots, :, columns])
    return frames


def _defocus(beam: BeamChange, _: SceneBatch, severity: float) -> BeamChange:
    return replace(beam, blur=severity)


def _pointing_step(beam: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
    return _moved(beam, batch, severity * np.ones(len(batch.pulses)))


def _pointing_drift(beam: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
    return _moved(beam, batch, severity * batch.uniform("moment"))


def _moved(beam: BeamChange, batch: SceneBatch, pixels: Floats) -> BeamChange:
    right = np.rint(batch.either_way() * pixels * batch.scene.laser.factor).astype(np.intp)
    return replace(beam, shifts=beam.shifts + np.stack([np.zeros_like(right), right], axis=1))


def _energy_drop(beam: BeamChange, _: SceneBatch, severity: float) -> BeamChange:
    return replace(beam, energy=beam.energy * (1 - severity))


def _energy_drift(beam: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
    return replace(beam, energy=beam.energy * (1 - severity * batch.uniform("moment")))


def _energy_disagreement(energy2: Floats, _: SceneBatch, severity: float) -> Floats:
    return energy2 * (1 - severity)


def _low_bandwidth(colour: Colour, _: SceneBatch, severity: float) -> Colour:
    return replace(colour, width=colour.width * (1 - severity))


def _wavelength_shift(colour: Colour, batch: SceneBatch, severity: float) -> Colour:
    return replace(colour, shift=colour.shift + severity * batch.either_way())


def _spectral_hole(light: Images, batch: SceneBatch, severity: float) -> Images:
    pixels = np.arange(light.shape[1]) / light.shape[1]
    hole = np.exp(-(((pixels - batch.uniform("hole", *HOLE_PLACES)[:, None]) / HOLE_WIDTH) ** 2) / 2)
    holed: Images = light * (1 - severity * hole).astype(np.float32)
    return holed


_SHARES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
_LOST = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

ANOMALIES = (
    AnomalyClass("hot spot", "amplitude over the peak", Stage.LIGHT, _hot_spot, _SHARES, Target(0.05, 0.95)),
    AnomalyClass("dust", "light taken in its middle", Stage.LIGHT, _dust, (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)),
    AnomalyClass("fringes", "modulation depth", Stage.LIGHT, _fringes, _SHARES),
    AnomalyClass(
        "clipping",
        "share of the light cut off",
        Stage.LIGHT,
        _clipping,
        (0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
        Target(0.01, 0.95),
    ),
    AnomalyClass(
        "ghost", "brightness over the beam's", Stage.LIGHT, _ghost, (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
    ),
    AnomalyClass("saturation", "too much light", Stage.LIGHT, _saturation, (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)),
    AnomalyClass("dead pixel", "share of the counts lost", Stage.FRAMES, _dead_pixel, _LOST),
    AnomalyClass("hot pixel", "counts more, over the limit", Stage.FRAMES, _hot_pixel, _SHARES),
    AnomalyClass("dead column", "share of the counts lost", Stage.FRAMES, _dead_column, _LOST),
    AnomalyClass(
        "defocus",
        "blur, standard deviation, px",
        Stage.BEAM,
        _defocus,
        (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
        Target(0.5, 0.95),
        needs_mean=True,
    ),
    AnomalyClass(
        "pointing step",
        "px",
        Stage.BEAM,
        _pointing_step,
        (0.2, 0.4, 0.6, 0.8, 1.0, 1.6),
        Target(1.0, 0.8),
    ),
    AnomalyClass(
        "pointing drift", "px at its end", Stage.BEAM, _pointing_drift, (0.4, 0.6, 0.8, 1.0, 1.6, 2.0)
    ),
    AnomalyClass(
        "energy drop", "share of the energy lost", Stage.BEAM, _energy_drop, _SHARES, Target(0.1, 0.9)
    ),
    AnomalyClass(
        "energy drift", "share lost at its end", Stage.BEAM, _energy_drift, (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
    ),
    AnomalyClass(
        "energy disagreement",
        "share lost by energy2",
        Stage.ENERGY2,
        _energy_disagreement,
        (0.02, 0.05, 0.1, 0.2, 0.3, 0.4),
    ),
    AnomalyClass(
        "low bandwidth", "share of the width lost", Stage.COLOUR, _low_bandwidth, _SHARES, Target(0.1, 0.9)
    ),
    AnomalyClass(
        "wavelength shift",
        "px of the line",
        Stage.COLOUR,
        _wavelength_shift,
        (1.0, 2.0, 3.0, 5.0, 10.0, 30.0),
    ),
    AnomalyClass("spectral hole", "depth", Stage.LINE, _spectral_hole, (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)),
)
"""Severities are spaced across the noise floor: the lowest is invisible to anybody, the highest visible to
everybody.
"""
BY_NAME = {anomaly.name: anomaly for anomaly in ANOMALIES}
"""Tasks for other processes identify an anomaly by its name."""
