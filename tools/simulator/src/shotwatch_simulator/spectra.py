"""Spectra of a simulated spectrometer."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shotwatch_shots.pulses import Times
from shotwatch_simulator.noise import Floats, Images, drift, generator, normal, white


@dataclass(frozen=True, slots=True)
class Spectrometer:
    """The fixed properties of a spectrometer; lengths in px of its line."""

    name: str
    length: int
    peak: float
    """Counts of the plateau at nominal energy."""
    centre: float
    half_width: float
    """Half width of the plateau, where the intensity has fallen to 1/e²."""
    structure: Images
    """Relative height of each pixel, about 1: (length,)."""
    read_noise: float


@dataclass(frozen=True, slots=True)
class Colour:
    """The properties of the spectrum that change from shot to shot, one entry per pulse: (n,) each."""

    energy: Floats
    """1 = nominal."""
    shift: Floats
    """Shift of the centre (px)."""
    width: Floats
    """Bandwidth relative to nominal. The energy is conserved: a narrower spectrum is higher."""


@lru_cache(maxsize=256)
def spectrometer(name: str, length: int, seed: int) -> Spectrometer:
    """Return the spectrometer of that name: broadband, nearly flat, with structure of its own."""
    rng = generator(seed, name, "spectrometer")
    return Spectrometer(
        name=name,
        length=length,
        peak=rng.uniform(4e3, 12e3),
        centre=length * rng.uniform(0.46, 0.54),
        half_width=length * rng.uniform(0.15, 0.2),
        structure=_structure(length, rng),
        read_noise=rng.uniform(6, 12),
    )


def colour(place: str, pulses: Times, energy: Floats, seed: int) -> Colour:
    """Return the colour of a place's pulses, the same for all its spectrometers."""
    shift = 0.5 * normal(pulses, seed, place, "colour") + 0.1 * drift(pulses, seed, place, "colour")
    return Colour(energy, shift, 1 + 0.003 * normal(pulses, seed, place, "bandwidth"))


def disperse(device: Spectrometer, colour: Colour) -> Images:
    """Return the light on the line, counts without noise: (n, length). It is a super-Gaussian of order 8."""
    pixels = np.arange(device.length)
    distance = (pixels - device.centre - colour.shift[:, None]) / (device.half_width * colour.width[:, None])
    light = np.exp(-2 * np.minimum(distance**8, 40))
    light *= device.peak * (colour.energy / colour.width)[:, None]
    counts: Images = (light * device.structure).astype(np.float32)
    return counts


def read_out(light: Images, device: Spectrometer, pulses: Times, seed: int) -> Images:
    """Return spectra with photon and read noise, whole counts about a base line of 0: (n, length)."""
    noise = np.sqrt(np.maximum(light, 0) + np.float32(device.read_noise**2)) * white(
        pulses, (device.length,), seed, device.name
    )
    spectra: Images = np.rint(light + noise)
    return spectra


def _structure(length: int, rng: np.random.Generator) -> Images:
    """Return eight waves of 1/20 to 1/3 of the line, 6 % rms together."""
    pixels = np.arange(length)
    waves = length * rng.uniform(1 / 20, 1 / 3, 8)
    phases = rng.uniform(0, 2 * np.pi, 8)
    pattern = np.cos(2 * np.pi * pixels / waves[:, None] + phases[:, None]).sum(axis=0)
    structure: Images = (1 + 0.06 * pattern / pattern.std()).astype(np.float32)
    return structure
