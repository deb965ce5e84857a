"""Frames of a simulated camera: the beam's light, and the exposure of a sensor to it."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.pulses import Times
from shotwatch_simulator.noise import Floats, Images, drift, generator, normal, white

Frames = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Sensor:
    """The properties of a camera's sensor; all in counts."""

    limit: int
    """The highest count."""
    background: float
    read_noise: float
    """Standard deviation."""
    electrons_per_count: float
    """Electrons per count of a (binned) pixel: photon noise is sqrt(counts / this)."""


@dataclass(frozen=True, slots=True)
class Satellite:
    """A weak Gaussian beside the main beam: amplitude relative to the peak, offset and 1/e² radius in px."""

    amplitude: float
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Camera:
    """The fixed properties of a camera and the optics in front of it; lengths in px of its frame."""

    name: str
    shape: tuple[int, int]
    sensor: Sensor
    peak: float
    """Counts of the brightest pixel above the background, at nominal energy."""
    x: float
    y: float
    radius_x: float
    radius_y: float
    """1/e² radii of the super-Gaussian."""
    tilt: float
    """rad"""
    order: int
    """1: Gaussian; 2, 3: increasingly flat tops. Intensity ∝ exp(-2 (r²)^order)."""
    satellites: tuple[Satellite, ...]
    modulation: Images
    """Transmission of the optics, about 1: (height, width)."""
    pointing_rms: float


@dataclass(frozen=True, slots=True)
class Beam:
    """The properties of the beam that change from shot to shot, one entry per pulse: (n,) each."""

    energy: Floats
    """1 = nominal."""
    x: Floats
    y: Floats
    """Offset from the camera's nominal centre (px)."""
    width: Floats
    height: Floats
    """Radii relative to nominal. The energy is conserved: a wider beam is less bright."""


@lru_cache(maxsize=256)
def camera(name: str, shape: tuple[int, int], limit: int, seed: int) -> Camera:
    """Return the camera of that name. The same name always gives the same camera, other names give others."""
    rng = generator(seed, name, "camera")
    height, width = shape
    sensor = Sensor(limit, rng.uniform(12, 22), rng.uniform(0.4, 0.8), rng.uniform(60, 120))
    unit = Camera(
        name=name,
        shape=shape,
        sensor=sensor,
        peak=1.0,
        x=width * rng.uniform(0.45, 0.55),
        y=height * rng.uniform(0.45, 0.55),
        radius_x=height * rng.uniform(0.24, 0.32),
        radius_y=height * rng.uniform(0.24, 0.32),
        tilt=rng.uniform(-0.3, 0.3),
        order=int(rng.integers(1, 4)),
        satellites=tuple(_satellite(height, rng) for _ in range(2)),
        modulation=_modulation(shape, rng),
        pointing_rms=rng.uniform(0.2, 0.3),
    )
    brightest = illuminate(unit, _still()).max()
    return replace(unit, modulation=unit.modulation / brightest, peak=limit * rng.uniform(0.61, 0.78))


def beam(device: Camera, pulses: Times, energy: Floats, seed: int) -> Beam:
    """Return the beam on a camera for pulses of this energy, with shot-to-shot jitter and a slow drift."""

    def offset(axis: str) -> Floats:
        jitter = normal(pulses, seed, device.name, axis) + 0.3 * drift(pulses, seed, device.name, axis)
        return device.pointing_rms * jitter

    def scale(axis: str) -> Floats:
        return 1 + 0.002 * normal(pulses, seed, device.name, axis)

    return Beam(energy, offset("x"), offset("y"), scale("width"), scale("height"))


def illuminate(device: Camera, beam: Beam) -> Images:
    """Return the light on the sensor, counts without background and noise: (n, height, width)."""
    rows, columns = (np.arange(length, dtype=np.float32) for length in device.shape)
    dx = (columns - (device.x + beam.x)[:, None]).astype(np.float32)
    dy = (rows - (device.y + beam.y)[:, None]).astype(np.float32)
    light = _super_gaussian(device, beam, dx, dy)
    for satellite in device.satellites:
        light += _gaussian(satellite, dx, dy)
    light *= device.modulation * np.float32(device.peak)
    light *= (beam.energy / (beam.width * beam.height)).astype(np.float32)[:, None, None]
    return light


def expose(light: Images, sensor: Sensor, noise: Images) -> Frames:
    """Return the frames of a sensor: background, photon and read noise, whole counts from 0 to its limit.

    `noise` is white normal noise in the shape of `light`. Photon noise has a normal distribution with the
    variance of a Poisson distribution, because a pixel of the beam holds thousands of electrons. Recorded
    light below zero, of a frame from which a dark one was subtracted, adds no photon noise.
    """
    photons = np.maximum(light, 0)
    counts = np.sqrt(photons / np.float32(sensor.electrons_per_count) + np.float32(sensor.read_noise**2))
    counts *= noise
    counts += light
    counts += np.float32(sensor.background)
    np.rint(counts, out=counts)
    frames: Frames = np.clip(counts, 0, sensor.limit, out=counts).astype(np.uint16)
    return frames


def sensor_noise(device: Camera, pulses: Times, seed: int) -> Images:
    """Return the white noise for `expose`."""
    return white(pulses, device.shape, seed, device.name)


def _still() -> Beam:
    zero, one = np.zeros(1), np.ones(1)
    return Beam(one, zero, zero, one, one)


def _satellite(height: int, rng: np.random.Generator) -> Satellite:
    x, y = rng.uniform(-0.15, 0.15, 2) * height
    return Satellite(rng.uniform(0.08, 0.25), x, y, height * rng.uniform(0.1, 0.2))


def _modulation(shape: tuple[int, int], rng: np.random.Generator) -> Images:
    """Return the fixed structure of the optics: a dozen waves of 5 to 40 px, 4 % rms together."""
    rows, columns = np.indices(shape, np.float32)
    pattern = np.zeros(shape, np.float32)
    for _ in range(12):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        wave = 2 * np.pi / rng.uniform(5, 40)
        pattern += np.cos(wave * (columns * np.cos(angle) + rows * np.sin(angle)) + phase).astype(np.float32)
    modulation: Images = 1 + np.float32(0.04) * pattern / pattern.std()
    return modulation


def _super_gaussian(device: Camera, beam: Beam, dx: Images, dy: Images) -> Images:
    cos, sin = np.cos(device.tilt), np.sin(device.tilt)
    across = 1 / (device.radius_x * beam.width) ** 2
    along = 1 / (device.radius_y * beam.height) ** 2
    xx = (across * cos**2 + along * sin**2)[:, None] * dx**2
    yy = (across * sin**2 + along * cos**2)[:, None] * dy**2
    xy = (2 * cos * sin * (across - along))[:, None] * dx
    distance: Images = xy.astype(np.float32)[:, None, :] * dy[:, :, None]
    distance += xx.astype(np.float32)[:, None, :]
    distance += yy.astype(np.float32)[:, :, None]
    light: Images = distance if device.order == 1 else distance**device.order
    light *= -2
    return np.exp(light, out=light)


def _gaussian(satellite: Satellite, dx: Images, dy: Images) -> Images:
    columns = np.exp(-2 * ((dx - satellite.x) / satellite.radius) ** 2)
    rows = np.float32(satellite.amplitude) * np.exp(-2 * ((dy - satellite.y) / satellite.radius) ** 2)
    light: Images = rows[:, :, None] * columns[:, None, :]
    return light
