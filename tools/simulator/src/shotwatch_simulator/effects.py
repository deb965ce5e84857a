"""The effects of injected anomalies on light, frames, spectra, energies, states and times.

Each function applies the injections of one device. Each kind acts where its physical cause would: on the
beam, in the optics, on the sensor.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.pulses import Times
from shotwatch_simulator.anomalies import Injection, Injections, Kind
from shotwatch_simulator.frames import Beam, Camera, Frames
from shotwatch_simulator.noise import Floats, Images, generator
from shotwatch_simulator.spectra import Colour


def frame_sources(pulses: Times, injections: Injections) -> Times:
    """Return the pulse whose frame a camera shows at each pulse: an earlier one if the camera is frozen."""
    sources = pulses.copy()
    for injection in _of(injections, Kind.FROZEN_FRAME):
        sources[injection.hits(pulses)] = injection.pulse - injection.interval.period_ms
    return sources


def alter_energy(energy: Floats, pulses: Times, injections: Injections) -> Floats:
    """Return the pulses' energy after drops and drifts."""
    for injection in _of(injections, Kind.ENERGY_DROP, Kind.ENERGY_DRIFT):
        energy = energy * (1 - injection.strength(pulses))
    return energy


def alter_beam(beam: Beam, pulses: Times, injections: Injections) -> Beam:
    """Return the beam after changes of pointing, focus and astigmatism."""
    for injection in injections:
        strength = injection.strength(pulses)
        match injection.kind:
            case Kind.POINTING_STEP | Kind.POINTING_DRIFT:
                beam = replace(beam, x=beam.x + strength)
            case Kind.DEFOCUS:
                beam = replace(beam, width=beam.width * (1 + strength), height=beam.height * (1 + strength))
            case Kind.ELLIPTICITY:
                beam = replace(beam, width=beam.width * (1 + strength), height=beam.height / (1 + strength))
    return beam


def alter_light(light: Images, camera: Camera, pulses: Times, injections: Injections) -> None:
    """Apply the effects of optics and shutter to the light (n, height, width), in place."""
    for injection in injections:
        optics = _OPTICS.get(injection.kind)
        hit = injection.hits(pulses)
        if optics and hit.any():
            light[hit] = optics(light[hit], camera, injection.severity, _geometry(camera, injection))


def alter_frames(frames: Frames, camera: Camera, pulses: Times, injections: Injections) -> None:
    """Apply the effects of the sensor to frames (n, height, width), in place."""
    for injection in injections:
        hit = injection.hits(pulses)
        row, column = _inside_beam(camera, _geometry(camera, injection))
        match injection.kind:
            case Kind.DEAD_PIXEL:
                frames[hit, row, column] = frames[hit, row, column] * (1 - injection.severity)
            case Kind.HOT_PIXEL:
                frames[hit, row, column] = round(injection.severity * camera.sensor.limit)
            case Kind.DEAD_COLUMN:
                frames[hit, :, column] = frames[hit, :, column] * (1 - injection.severity)


def alter_colour(colour: Colour, pulses: Times, injections: Injections) -> Colour:
    """Return the spectrum's width and position after changes of bandwidth and wavelength."""
    for injection in injections:
        strength = injection.strength(pulses)
        match injection.kind:
            case Kind.LOW_BANDWIDTH:
                colour = replace(colour, width=colour.width * (1 - strength))
            case Kind.WAVELENGTH_SHIFT:
                colour = replace(colour, shift=colour.shift + strength)
    return colour


def alter_line(light: Images, pulses: Times, injections: Injections) -> Images:
    """Return the light on a spectrometer's line (n, length) with a hole: a Gaussian of 1/100 of the line."""
    pixels = np.arange(light.shape[1]) / light.shape[1]
    for injection in _of(injections, Kind.SPECTRAL_HOLE):
        middle = generator(injection.pulse, "hole").uniform(0.42, 0.58)
        hole = np.exp(-0.5 * ((pixels - middle) / 0.01) ** 2)
        light = (light * (1 - injection.strength(pulses)[:, None] * hole)).astype(np.float32)
    return light


def alter_spectra(spectra: Images, pulses: Times, injections: Injections) -> Images:
    """Return spectra (n, length) after a loss of counts."""
    for injection in _of(injections, Kind.SPECTRUM_LOSS):
        spectra = (spectra * (1 - injection.strength(pulses)[:, None])).astype(np.float32)
    return spectra


def alter_second_half(energy2: Floats, pulses: Times, injections: Injections) -> Floats:
    """Return the reading of the second half of a meter after a loss."""
    for injection in _of(injections, Kind.ENERGY_DISAGREEMENT):
        energy2 = energy2 * (1 - injection.strength(pulses))
    return energy2


def states(on: str, pulses: Times, injections: Injections) -> NDArray[np.bytes_]:
    """Return the state of a device at each pulse: (n,)."""
    words = np.full(len(pulses), on.encode(), f"S{max(len(on), len('UNREACHABLE'))}")
    for injection in injections:
        hit = injection.hits(pulses)
        match injection.kind:
            case Kind.FAULT:
                words[hit] = b"FAULT"
            case Kind.UNREACHABLE:
                words[hit] = b"UNREACHABLE"
            case Kind.STATE_CHATTER:
                words[hit & injection.every_other(pulses)] = b"FAULT"
    return words


def recorded(pulses: Times, injections: Injections) -> NDArray[np.bool_]:
    """Return at which pulses the device leaves a record."""
    there = np.ones(len(pulses), np.bool_)
    for injection in _of(injections, Kind.MISSING_SAMPLE, Kind.MISSING_DEVICE):
        there &= ~injection.hits(pulses)
    return there


def delays_ms(pulses: Times, injections: Injections) -> Times:
    """Return by how much the device's clock is late at each pulse (ms)."""
    late = np.zeros(len(pulses))
    for injection in _of(injections, Kind.CLOCK_SKEW):
        late += injection.strength(pulses) * injection.interval.period_ms
    return np.rint(late).astype(np.int64)


def _of(injections: Injections, *kinds: Kind) -> list[Injection]:
    return [injection for injection in injections if injection.kind in kinds]


def _geometry(camera: Camera, injection: Injection) -> np.random.Generator:
    """Return the generator for position and orientation in the frame, the same for the whole injection."""
    return generator(camera.name, injection.kind, injection.pulse)


def _inside_beam(camera: Camera, rng: np.random.Generator) -> tuple[int, int]:
    """Return a (row, column) well inside the beam."""
    distance, angle = rng.uniform(0, 0.6), rng.uniform(0, 2 * np.pi)
    row = camera.y + distance * camera.radius_y * np.sin(angle)
    column = camera.x + distance * camera.radius_x * np.cos(angle)
    return round(row), round(column)


def _spot(camera: Camera, radius: float, rng: np.random.Generator) -> Images:
    """Return a Gaussian of height 1 and this rms radius (px) at a random place in the beam: (h, w)."""
    row, column = _inside_beam(camera, rng)
    rows, columns = np.indices(camera.shape, np.float32)
    spot: Images = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / np.float32(2 * radius**2))
    return spot


def _hot_spot(light: Images, camera: Camera, severity: float, rng: np.random.Generator) -> Images:
    peak = light.max(axis=(1, 2), keepdims=True)
    brighter: Images = light + np.float32(severity) * peak * _spot(camera, 1.5, rng)
    return brighter


def _dark_spot(light: Images, camera: Camera, severity: float, rng: np.random.Generator) -> Images:
    return light * (1 - np.float32(severity) * _spot(camera, 2.5, rng))


def _fringes(light: Images, camera: Camera, severity: float, rng: np.random.Generator) -> Images:
    angle, phase = rng.uniform(0, 2 * np.pi, 2)
    wave = 2 * np.pi / rng.uniform(6, 12)
    rows, columns = np.indices(camera.shape)
    pattern = np.cos(wave * (columns * np.cos(angle) + rows * np.sin(angle)) + phase)
    fringed: Images = light * (1 + severity * pattern).astype(np.float32)
    return fringed


def _clipping(light: Images, camera: Camera, severity: float, _: np.random.Generator) -> Images:
    edge = camera.x + camera.radius_x * (1 - 2 * severity)
    clipped: Images = light * (np.arange(camera.shape[1]) <= edge).astype(np.float32)
    return clipped


def _ghost(light: Images, camera: Camera, severity: float, rng: np.random.Generator) -> Images:
    """Add a weak copy of the beam to its right. Light that leaves the frame there is not wrapped around."""
    shift = round(rng.uniform(0.8, 1.2) * camera.radius_x)
    ghost = np.zeros_like(light)
    ghost[:, :, shift:] = light[:, :, :-shift]
    return light + np.float32(severity) * ghost


def _brighter(light: Images, _camera: Camera, severity: float, _: np.random.Generator) -> Images:
    return light * np.float32(severity)


def _darker(light: Images, _camera: Camera, severity: float, _: np.random.Generator) -> Images:
    return light * np.float32(1 - severity)


_OPTICS: dict[Kind, Callable[[Images, Camera, float, np.random.Generator], Images]] = {
    Kind.HOT_SPOT: _hot_spot,
    Kind.DARK_SPOT: _dark_spot,
    Kind.FRINGES: _fringes,
    Kind.CLIPPING: _clipping,
    Kind.GHOST: _ghost,
    Kind.SATURATED_FRAME: _brighter,
    Kind.BLACK_FRAME: _darker,
}
