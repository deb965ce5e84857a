"""The energy of a pulse, and what an energy meter reads of it."""

from dataclasses import dataclass

from shotwatch_shots.pulses import Times
from shotwatch_simulator.noise import Floats, drift, generator, normal


@dataclass(frozen=True, slots=True)
class Meter:
    """What is fixed about an energy meter with two halves."""

    name: str
    nominal: float
    """What it reads of a pulse of nominal energy (J)."""
    imbalance: float
    """How much more than the mean its first half reads (relative)."""


def pulse_energy(place: str, pulses: Times, seed: int) -> Floats:
    """Energy of the pulses at a place, 1 = nominal: 0.7 % rms from shot to shot and a slow drift of 0.2 %."""
    jitter = 0.007 * normal(pulses, seed, place, "energy")
    energy: Floats = 1 + jitter + 0.002 * drift(pulses, seed, place, "energy")
    return energy


def meter(name: str, place: str, seed: int) -> Meter:
    """The meter of that name; meters of one place see one beam, each a little differently."""
    at_place: float = 10 ** generator(seed, place, "nominal energy").uniform(-0.5, 2.0)
    rng = generator(seed, name, "meter")
    return Meter(name, at_place * rng.uniform(0.95, 1.05), rng.uniform(-0.01, 0.01))


def read_meter(device: Meter, pulses: Times, energy: Floats, seed: int) -> tuple[Floats, Floats]:
    """What both halves read (J): 0.5 % noise each."""

    def half(name: str, imbalance: float) -> Floats:
        noise = 1 + 0.005 * normal(pulses, seed, device.name, name)
        return device.nominal * (1 + imbalance) * energy * noise

    return half("energy1", device.imbalance), half("energy2", -device.imbalance)
