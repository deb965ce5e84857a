"""`simulate` in the older layout: images only, one file a day and beam line."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path

from shotwatch_common.facility import Facility, Interval
from shotwatch_common.pulses import Times, epoch_ms
from shotwatch_simulator import devices, hdf5
from shotwatch_simulator.devices import Machine
from shotwatch_simulator.files import SnapshotFile
from shotwatch_simulator.hdf5 import Array
from shotwatch_simulator.injections import labels
from shotwatch_simulator.labels import write_labels
from shotwatch_simulator.simulation import Simulation

_DAY = timedelta(days=1)


def image_days(simulation: Simulation) -> tuple[SnapshotFile, ...]:
    """What the day files hold: one entry per file (`LA_images_2021-06-01.h5`) and camera in it.

    The cameras are those of the simulation's places that the facility's image groups name.

    Raises:
        ValueError: the facility has no such layout.
    """
    interval = _interval(simulation.facility)
    cameras = {group for roster in simulation.rosters for group in roster.groups}
    days = (
        SnapshotFile(
            name=f"{simulation.machine.device(group).place.frontend}_images_{start:%Y-%m-%d}.h5",
            group=group,
            interval=interval,
            starts_at=epoch_ms(start),
            length_ms=epoch_ms(end) - epoch_ms(start),
        )
        for start, end in _days(simulation.start, simulation.start + simulation.duration)
        for group in simulation.facility.image_groups.values()
        if group in cameras
    )
    return tuple(sorted(days, key=lambda day: (day.starts_at, day.name)))


def simulate_image_days(simulation: Simulation, folder: Path) -> Iterator[Path]:
    """Write the labels, then day after day, and yield the path of each file."""
    folder.mkdir(parents=True, exist_ok=True)
    days = image_days(simulation)
    write_labels(folder, labels(simulation.injections, days))
    names = {group: name for name, group in simulation.facility.image_groups.items()}
    for file_name, cameras in groupby(days, key=lambda day: day.name):
        path = folder / file_name
        hdf5.write_images(path, ((names[day.group], _images(simulation.machine, day)) for day in cameras))
        yield path


def _interval(facility: Facility) -> Interval:
    for layout in facility.layouts:
        if layout.arrangement == "images" and layout.interval:
            return facility.interval(layout.interval)
    raise ValueError(f"{facility.name} has no layout with one file of images a day")


def _days(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The parts of days between start and end."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < end:
        yield max(start, midnight), min(end, midnight + _DAY)
        midnight += _DAY


def _images(machine: Machine, day: SnapshotFile) -> Iterator[tuple[Times, Array]]:
    stamps = devices.stamps(machine, day.group, day.pulses)
    for records in devices.in_batches(stamps, partial(devices.simulated, machine, day.group)):
        [image] = records.data.values()
        yield records.times, image
