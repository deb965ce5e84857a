"""The records of a place's devices: data of their kind, states and times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_shots.facility import Device, Facility
from shotwatch_shots.pulses import Times
from shotwatch_shots.vocabulary import DeviceKind
from shotwatch_simulator import anomalies, energies, frames, spectra
from shotwatch_simulator.anomalies import Injections
from shotwatch_simulator.hdf5 import Array, Records
from shotwatch_simulator.noise import Floats, uniform

_BATCH = 100
_LATENCY_MS = 9
"""The time of a record is up to this long after its pulse."""


@dataclass(frozen=True, slots=True)
class Machine:
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


def stamps(machine: Machine, group: str, pulses: Times) -> Stamps:
    """Return the records that a device leaves at these pulses."""
    injections = machine.concerning(group)
    pulses = pulses[anomalies.recorded(pulses, injections)]
    latency = (uniform(pulses, machine.seed, group, "clock") * _LATENCY_MS).astype(np.int64)
    times = pulses + latency + anomalies.delays_ms(pulses, injections)
    # A recorder stores one record per millisecond. If two have the same time, the first is kept.
    times, order = np.unique(times, return_index=True)
    states = anomalies.states(machine.facility.state.on, pulses, injections)
    return Stamps(pulses[order], times, states[order])


def in_batches(stamps: Stamps, data: Callable[[Times], dict[str, Array]]) -> Iterator[Records]:
    """Yield records with their data in parts, so that the memory does not grow with the file."""
    for first in range(0, len(stamps.pulses), _BATCH):
        rows = slice(first, first + _BATCH)
        yield Records(stamps.times[rows], stamps.states[rows], data(stamps.pulses[rows]))


def simulated(machine: Machine, group: str, pulses: Times) -> dict[str, Array]:
    """Return the data of a simulated device at these pulses: dataset name → (n, ...) array."""
    device = machine.device(group)
    sources = anomalies.frame_sources(pulses, machine.concerning(group))
    energy = energies.pulse_energy(str(device.place), sources, machine.seed)
    return measured(machine, device, sources, energy)


def measured(machine: Machine, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    """Return the data of a device at pulses of this energy (1 = nominal): dataset name → (n, ...) array."""
    injections = machine.concerning(device.group)
    energy = anomalies.alter_energy(energy, pulses, injections)
    match device.kind:
        case DeviceKind.CAMERA:
            return _image(machine, device, pulses, energy)
        case DeviceKind.SPECTRO:
            return _spectrum(machine, device, pulses, energy)
        case DeviceKind.ENERGY_METER:
            return _energies(machine, device, pulses, energy)
        case _:
            return {}


def _image(machine: Machine, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    injections = machine.concerning(device.group)
    dataset = machine.facility.device_type(device.group).datasets[0]
    height, width = dataset.shape
    camera = frames.camera(device.group, (height, width), int(dataset.range[1]), machine.seed)
    beam = anomalies.alter_beam(frames.beam(camera, pulses, energy, machine.seed), pulses, injections)
    light = frames.illuminate(camera, beam)
    anomalies.alter_light(light, camera, pulses, injections)
    image = frames.expose(light, camera.sensor, frames.sensor_noise(camera, pulses, machine.seed))
    anomalies.alter_frames(image, camera, pulses, injections)
    return {dataset.name: image}


def _spectrum(machine: Machine, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    injections = machine.concerning(device.group)
    dataset = machine.facility.device_type(device.group).datasets[0]
    line = spectra.spectrometer(device.group, dataset.shape[0], machine.seed)
    colour = spectra.colour(str(device.place), pulses, energy, machine.seed)
    light = spectra.disperse(line, anomalies.alter_colour(colour, pulses, injections))
    light = anomalies.alter_line(light, pulses, injections)
    spectrum = spectra.read_out(light, line, pulses, machine.seed)
    return {dataset.name: anomalies.alter_spectra(spectrum, pulses, injections)}


def _energies(machine: Machine, device: Device, pulses: Times, energy: Floats) -> dict[str, Array]:
    first, second = machine.facility.device_type(device.group).datasets
    meter = energies.meter(device.group, str(device.place), machine.seed)
    energy1, energy2 = energies.read_meter(meter, pulses, energy, machine.seed)
    energy2 = anomalies.alter_second_half(energy2, pulses, machine.concerning(device.group))
    return {first.name: energy1[:, None], second.name: energy2[:, None]}
