"""The records of a place's devices: data of their kind, states and times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Device, Facility
from shotwatch_shots.pulses import Times
from shotwatch_simulator import effects, energies, frames, spectra
from shotwatch_simulator.anomalies import Injections
from shotwatch_simulator.hdf5 import Array, SnapshotRecords
from shotwatch_simulator.noise import Floats, uniform

_BATCH = 100
_LATENCY_MS = 9
"""The time of a record is up to this long after its pulse."""


@dataclass(frozen=True, slots=True)
class SimulatedLaser:
    """A simulated laser: a facility, its seed and its anomalies."""

    facility: Facility
    seed: int
    injections: Injections = ()

    def device(self, group: str) -> Device:
        """Parse a group name.

        Raises:
            ValueError: the facility has no place for it.
        """
        device = self.facility.device(group)
        if device is None:
            raise ValueError(f"{group} names no place of {self.facility.name}")
        return device

    def concerning(self, group: str) -> Injections:
        """Return the injections that affect a device."""
        return [injection for injection in self.injections if group in injection.devices]


@dataclass(frozen=True, slots=True)
class Stamps:
    """The pulses at which a device leaves a record, with time and state: (n,) each, in the order of time."""

    pulses: Times
    times: Times
    """Epoch ms."""
    states: NDArray[np.bytes_]


def stamps(laser: SimulatedLaser, group: str, pulses: Times) -> Stamps:
    """Return the records that a device leaves at these pulses."""
    injections = laser.concerning(group)
    pulses = pulses[effects.recorded(pulses, injections)]
    latency = (uniform(pulses, laser.seed, group, "clock") * _LATENCY_MS).astype(np.int64)
    times = pulses + latency + effects.delays_ms(pulses, injections)
    # A recorder stores one record per millisecond. If two have the same time, the first is kept.
    times, order = np.unique(times, return_index=True)
    states = effects.states(laser.facility.state.on, pulses, injections)
    return Stamps(pulses[order], times, states[order])


def in_batches(stamps: Stamps, data: Callable[[Times], dict[str, Array]]) -> Iterator[SnapshotRecords]:
    """Yield records with their data in parts, so that the memory does not grow with the file."""
    for first in range(0, len(stamps.pulses), _BATCH):
        rows = slice(first, first + _BATCH)
        yield SnapshotRecords(stamps.times[rows], stamps.states[rows], data(stamps.pulses[rows]))


def simulated(laser: SimulatedLaser, group: str, pulses: Times) -> dict[str, Array]:
    """Return the data of a simulated device at these pulses: dataset name → (n, ...) array."""
    device = laser.device(group)
    sources = effects.frame_sources(pulses, laser.concerning(group))
    energy = energies.pulse_energy(str(device.place), sources, laser.seed)
    return measured(laser, device, sources, energy)


def measured(laser: SimulatedLaser, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    """Return the data of a device at pulses of this energy (1 = nominal): dataset name → (n, ...) array."""
    injections = laser.concerning(device.group)
    energy = effects.alter_energy(energy, pulses, injections)
    match device.kind:
        case DeviceKind.CAMERA:
            return _image(laser, device, pulses, energy)
        case DeviceKind.SPECTRO:
            return _spectrum(laser, device, pulses, energy)
        case DeviceKind.ENERGY_METER:
            return _energies(laser, device, pulses, energy)
        case DeviceKind.OTHER:
            return {}


def _image(laser: SimulatedLaser, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    injections = laser.concerning(device.group)
    dataset = laser.facility.device_type(device.group).datasets[0]
    height, width = dataset.shape
    camera = frames.camera(device.group, (height, width), int(dataset.range[1]), laser.seed)
    beam = effects.alter_beam(frames.beam(camera, pulses, energy, laser.seed), pulses, injections)
    light = frames.illuminate(camera, beam)
    effects.alter_light(light, camera, pulses, injections)
    image = frames.expose(light, camera.sensor, frames.sensor_noise(camera, pulses, laser.seed))
    effects.alter_frames(image, camera, pulses, injections)
    return {dataset.name: image}


def _spectrum(laser: SimulatedLaser, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    injections = laser.concerning(device.group)
    dataset = laser.facility.device_type(device.group).datasets[0]
    line = spectra.spectrometer(device.group, dataset.shape[0], laser.seed)
    colour = spectra.colour(str(device.place), pulses, energy, laser.seed)
    light = spectra.disperse(line, effects.alter_colour(colour, pulses, injections))
    light = effects.alter_line(light, pulses, injections)
    spectrum = spectra.read_out(light, line, pulses, laser.seed)
    return {dataset.name: effects.alter_spectra(spectrum, pulses, injections)}


def _energies(laser: SimulatedLaser, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    first, second = laser.facility.device_type(device.group).datasets
    meter = energies.meter(device.group, str(device.place), laser.seed)
    energy1, energy2 = energies.read_meter(meter, pulses, energy, laser.seed)
    energy2 = effects.alter_second_half(energy2, pulses, laser.concerning(device.group))
    return {first.name: energy1[:, None], second.name: energy2[:, None]}
