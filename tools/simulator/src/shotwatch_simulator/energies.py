"""The energy of a pulse, and the reading of an energy meter."""

from dataclasses import dataclass

from shotwatch_shots.pulses import Times
from shotwatch_simulator.noise import Floats, drift, generator, normal


@dataclass(frozen=True, slots=True)
class Meter:
    """The fixed properties of an energy meter with two halves."""

    name: str
    nominal: float
    """Its reading for a pulse of nominal energy (J)."""
    imbalance: float
    """Relative difference of its first half's reading from the mean of both."""


def pulse_energy(place: str, pulses: Times, seed: int) -> Floats:
    """Return the energy of the pulses at a place, 1 = nominal: 0.7 % rms jitter and a slow drift of 0.2 %."""
    jitter = 0.007 * normal(pulses, seed, place, "energy")
    energy: Floats = 1 + jitter + 0.002 * drift(pulses, seed, place, "energy")
    return energy


def meter(name: str, place: str, seed: int) -> Meter:
    """Return the meter of that name. Meters of one place measure the same beam with small differences."""
    at_place: float = 10 ** generator(seed, place, "nominal energy").uniform(-0.5, 2.0)
    rng = generator(seed, name, "meter")
    return Meter(name, at_place * rng.uniform(0.95, 1.05), rng.uniform(-0.01, 0.01))


def read_meter(device: Meter, pulses: Times, energy: Floats, seed: int) -> tuple[Floats, Floats]:
    """Return the readings of both halves (J), with 0.5 % noise each."""

    def half(name: str, imbalance: float) -> Floats:
        noise = 1 + 0.005 * normal(pulses, seed, device.name, name)
        return device.nominal * (1 + imbalance) * energy * noise

    return half("energy1", device.imbalance), half("energy2", -device.imbalance)
