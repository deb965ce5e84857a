"""`simulate`: snapshot files of a simulated laser, with labels beside them."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path

from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_simulator import devices, hdf5
from shotwatch_simulator.anomalies import Injections, Kind
from shotwatch_simulator.devices import SimulatedLaser
from shotwatch_simulator.files import MINUTE, SnapshotFile, recorders, snapshot_files
from shotwatch_simulator.injections import labels
from shotwatch_simulator.labels import Label, write_labels


@dataclass(frozen=True)
class Simulation:
    """A span of time at some places of a facility. Equal simulations write equal records."""

    facility: Facility
    all_expected: tuple[ExpectedDevices, ...]
    start: datetime
    """UTC."""
    duration: timedelta
    seed: int = 0
    injections: Injections = ()
    file_length: timedelta = MINUTE
    """If it is one pulse's interval, the files hold a single shot each."""

    @property
    def laser(self) -> SimulatedLaser:
        return SimulatedLaser(self.facility, self.seed, self.injections)

    @cached_property
    def files(self) -> tuple[SnapshotFile, ...]:
        """The files to write, in the order in which a control system would close them."""
        devices = recorders(self.facility, self.all_expected)
        return snapshot_files(devices, self.start, self.duration, self.file_length)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The anomalies in the files."""
        return tuple(labels(self.injections, self.files))


def simulate(simulation: Simulation, folder: Path, workers: int = 1) -> Iterator[Path]:
    """Write the labels, then file after file, and yield the path of each; `workers` processes share the work.

    A missing device has no file, so there may be fewer files than `simulation.files`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_labels(folder, simulation.labels)
    write = partial(write_file, simulation.laser, folder)
    if workers == 1:
        yield from filter(None, map(write, simulation.files))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield from filter(None, pool.map(write, simulation.files))


def write_file(laser: SimulatedLaser, folder: Path, file: SnapshotFile) -> Path | None:
    """Write one file; return None if its device leaves no record in it."""
    stamps = devices.stamps(laser, file.group, file.pulses)
    if not len(stamps.pulses):
        return None
    path = folder / file.name
    data = partial(devices.simulated, laser, file.group)
    hdf5.write_snapshot(path, file.group, laser.facility.state.dataset, devices.in_batches(stamps, data))
    _corrupt(path, laser, file)
    return path


def _corrupt(path: Path, laser: SimulatedLaser, file: SnapshotFile) -> None:
    for injection in laser.concerning(file.group):
        if not injection.hits(file.pulses).any():
            continue
        match injection.kind:
            case Kind.EMPTY_FILE:
                path.write_bytes(b"")
            case Kind.NOT_HDF5_FILE:
                path.write_text("504 Gateway Time-out\n" * 50, encoding="utf-8")
            case Kind.TRUNCATED_FILE:
                content = path.read_bytes()
                path.write_bytes(content[: round(len(content) * (1 - injection.severity))])
