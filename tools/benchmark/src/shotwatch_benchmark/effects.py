"""What each class of anomaly does to a shot.

Each acts where its physical cause would: on the beam, in the optics or on the sensor, before or after photon
noise. A severity of zero leaves every bit unchanged. Place and direction are drawn anew for each shot; a
drift is judged at a random time within it. The simulator's effects are not used here: they keep one place for
all shots of an injection, and their clipping cuts the outer parts of the beam even at severity zero.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

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


Data = TypeVar("Data")

Effect = Callable[[Data, SceneBatch, float], Data]
"""(data of a stage, shots, severity) → the changed data."""


def unchanged(data: Data, _: SceneBatch, _severity: float) -> Data:
    """Return the data as they are."""
    return data


@dataclass(frozen=True, slots=True)
class Effects:
    """The effect of an anomaly on each stage at which shots are recorded."""

    beam: Effect[BeamChange] = unchanged
    light: Effect[Images] = unchanged
    """On the camera, before photon noise: (n, h, w)."""
    frames: Effect[Frames] = unchanged
    colour: Effect[Colour] = unchanged
    line: Effect[Images] = unchanged
    """Light on the spectrometer's line, before photon noise: (n, m)."""
    energy2: Effect[Floats] = unchanged


def _spots(batch: SceneBatch, radius: float) -> Images:
    """Return a Gaussian of height 1 at a random place in the beam of each shot: (n, h, w)."""
    profiles = [
        np.exp(-(((np.arange(length) - middle[:, None]) / radius) ** 2) / 2).astype(np.float32)
        for length, middle in zip(SHAPE, batch.inside_beam(), strict=True)
    ]
    spots: Images = profiles[0][:, :, None] * profiles[1][:, None, :]
    return spots


def hot_spot(light: Images, batch: SceneBatch, severity: float) -> Images:
    """Add a bright spot of this share of the mean frame's peak, at a random place in the beam."""
    amplitude = np.float32(severity * batch.scene.laser.mean.max())
    brighter: Images = light + amplitude * _spots(batch, HOT_SPOT_RADIUS)
    return brighter


def dust(light: Images, batch: SceneBatch, severity: float) -> Images:
    """Take this share of the light away in the middle of a spot, at a random place in the beam."""
    darker: Images = light * (1 - np.float32(severity) * _spots(batch, DUST_RADIUS))
    return darker


def fringes(light: Images, batch: SceneBatch, severity: float) -> Images:
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


def clipping(light: Images, batch: SceneBatch, severity: float) -> Images:
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


def ghost(light: Images, batch: SceneBatch, severity: float) -> Images:
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


def saturation(light: Images, _: SceneBatch, severity: float) -> Images:
    """Make the light brighter by this share of it."""
    return light * np.float32(1 + severity)


def dead_pixel(frames: Frames, batch: SceneBatch, severity: float) -> Frames:
    """Take this share of the counts away from one pixel in the beam."""
    return _at(frames, batch, 1 - severity, 0)


def hot_pixel(frames: Frames, batch: SceneBatch, severity: float) -> Frames:
    """Add this share of the camera's limit to one pixel in the beam."""
    return _at(frames, batch, 1, severity * LIMIT)


def _at(frames: Frames, batch: SceneBatch, gain: float, offset: float) -> Frames:
    """Change the value of one pixel in the beam of each frame."""
    frames, (rows, columns) = frames.copy(), batch.inside_beam()
    shots = np.arange(len(frames))
    frames[shots, rows, columns] = np.clip(np.rint(gain * frames[shots, rows, columns] + offset), 0, LIMIT)
    return frames


def dead_column(frames: Frames, batch: SceneBatch, severity: float) -> Frames:
    """Take this share of the counts away from a column through the beam."""
    frames, shots = frames.copy(), np.arange(len(frames))
    _, columns = batch.inside_beam()
    frames[shots, :, columns] = np.rint((1 - severity) * frames[shots, :, columns])
    return frames


def defocus(beam: BeamChange, _: SceneBatch, severity: float) -> BeamChange:
    """Apply a Gaussian blur of this standard deviation (px) to the beam."""
    return replace(beam, blur=severity)


def pointing_step(beam: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
    """Move the beam to the left or to the right by this distance (px)."""
    return _moved(beam, batch, severity * np.ones(len(batch.pulses)))


def pointing_drift(beam: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
    """Move the beam to the left or to the right by a random part of this distance (px)."""
    return _moved(beam, batch, severity * batch.uniform("moment"))


def _moved(beam: BeamChange, batch: SceneBatch, pixels: Floats) -> BeamChange:
    right = np.rint(batch.either_way() * pixels * batch.scene.laser.factor).astype(np.intp)
    return replace(beam, shifts=beam.shifts + np.stack([np.zeros_like(right), right], axis=1))


def energy_drop(beam: BeamChange, _: SceneBatch, severity: float) -> BeamChange:
    """Take this share of the energy away."""
    return replace(beam, energy=beam.energy * (1 - severity))


def energy_drift(beam: BeamChange, batch: SceneBatch, severity: float) -> BeamChange:
    """Take a random part of this share of the energy away."""
    return replace(beam, energy=beam.energy * (1 - severity * batch.uniform("moment")))


def energy_disagreement(energy2: Floats, _: SceneBatch, severity: float) -> Floats:
    """Take this share away from the reading of the meter's second half."""
    return energy2 * (1 - severity)


def low_bandwidth(colour: Colour, _: SceneBatch, severity: float) -> Colour:
    """Make the spectrum narrower by this share of its width."""
    return replace(colour, width=colour.width * (1 - severity))


def wavelength_shift(colour: Colour, batch: SceneBatch, severity: float) -> Colour:
    """Move the spectrum up or down by this distance (px)."""
    return replace(colour, shift=colour.shift + severity * batch.either_way())


def spectral_hole(light: Images, batch: SceneBatch, severity: float) -> Images:
    """Take this share of the light away in the middle of a hole, at a random place near the line's middle."""
    pixels = np.arange(light.shape[1]) / light.shape[1]
    hole = np.exp(-(((pixels - batch.uniform("hole", *HOLE_PLACES)[:, None]) / HOLE_WIDTH) ** 2) / 2)
    holed: Images = light * (1 - severity * hole).astype(np.float32)
    return holed
