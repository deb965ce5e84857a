"""The inputs of the system under fault injection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import ShotSeries
from shotwatch_simulator.anomalies import Kind
from shotwatch_simulator.injections import plan_injections
from shotwatch_simulator.simulation import Simulation, simulate

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = (
    *(Kind.FROZEN_FRAME, Kind.BLACK_FRAME, Kind.SATURATED_FRAME, Kind.FAULT),
    *(Kind.HOT_SPOT, Kind.ENERGY_DROP, Kind.POINTING_STEP),
)
"""What rules find, and what only the model can find."""
BIG, SMALL = "four places, two minutes", "one place, five seconds"
START = datetime(2022, 7, 1, 7, 30, tzinfo=UTC)
ONE_HZ = tuple(ShotSeries.parse(f"{place}-00-1s") for place in ("LA-A2", "LA-FSD", "LB-A2", "LB-FSD"))
TEN_HZ = (ShotSeries.parse("LB-F1-00-100ms"),)
LASER, ANOTHER_LASER = 1, 2
"""Seeds: another one is another laser."""
Where = Sequence[ShotSeries]


@dataclass(frozen=True, slots=True)
class Input:
    """Snapshot files, and those of the same names from another laser."""

    files: Sequence[Path]
    others: Sequence[Path]


def make_inputs(facility: Facility, folder: Path) -> Mapping[str, Input]:
    places = {BIG: (ONE_HZ, timedelta(minutes=2)), SMALL: (TEN_HZ, timedelta(seconds=5))}
    return {
        name: Input(
            _files(facility, where, duration, folder / f"{n}", LASER),
            _files(facility, where, duration, folder / f"{n}-others", ANOTHER_LASER),
        )
        for n, (name, (where, duration)) in enumerate(places.items())
    }


def quiet_files(facility: Facility, folder: Path) -> list[Path]:
    """A while of all places before the inputs, in which all is as it should be: what a model learns from."""
    learning = ((ONE_HZ, timedelta(minutes=2)), (TEN_HZ, timedelta(seconds=15)))
    return [
        path
        for where, duration in learning
        for path in simulate(
            Simulation(facility, _expected_by_series(facility, where), START - duration, duration, LASER),
            folder,
        )
    ]


def cameras_of(facility: Facility) -> int:
    """How many cameras the inputs have."""
    groups = [
        group for expected in _expected_by_series(facility, (*ONE_HZ, *TEN_HZ)) for group in expected.devices
    ]
    devices = [facility.device(group) for group in groups]
    return sum(device is not None and device.kind is DeviceKind.CAMERA for device in devices)


def _expected_by_series(facility: Facility, where: Where) -> tuple[ExpectedDevices, ...]:
    return tuple(expected for each in where if (expected := facility.expected_devices(each)) is not None)


def _files(
    facility: Facility,
    where: Where,
    duration: timedelta,
    folder: Path,
    seed: int,
) -> list[Path]:
    all_expected = _expected_by_series(facility, where)
    anomalous = plan_injections(facility, all_expected, START, duration, kinds=KINDS, seed=seed)
    return list(simulate(Simulation(facility, all_expected, START, duration, seed, anomalous), folder))
