"""Simulated snapshot files as any reader of HDF5 finds them, and the labels beside them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import NO_LEVEL, Place, ShotSeries
from shotwatch_shots.pulses import assign_pulses, epoch_ms, shot_id
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.anomalies import GROSS, TRAITS, Kind
from shotwatch_simulator.files import recorders, snapshot_files
from shotwatch_simulator.injections import inject, plan_injections
from shotwatch_simulator.labels import LABELS_FILE
from shotwatch_simulator.simulation import Simulation, simulate
from tests.unit.labels import read_labels

START = datetime(2022, 7, 1, 7, 33, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
A1 = ShotSeries.parse("LA-A1-11-100ms")
A2 = ShotSeries.parse("LA-A2-00-1s")
CAMERA = "LA_A1_11-Camera_1-Camera-1"
METER = "LA_A1_11-EM_1-EnergyMeter-1"
SPECTRO = "LA_A1_11-Spectro_1-Spectro-1"


@pytest.fixture(scope="module")
def facility() -> Facility:
    return load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")


def small(series: ShotSeries = A1) -> ExpectedDevices:
    """A place with one device of each kind."""
    group = "_".join(level for level in series.place.levels if level != NO_LEVEL)
    devices = ("Camera_1-Camera-1", "EM_1-EnergyMeter-1", "Spectro_1-Spectro-1")
    return ExpectedDevices(series.place, series.interval, tuple(f"{group}-{device}" for device in devices))


def simulation(facility: Facility, **changes: object) -> Simulation:
    defaults = {"all_expected": (small(A1),), "start": START, "duration": timedelta(seconds=5)}
    return Simulation(facility, **{**defaults, **changes})  # type: ignore[arg-type]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def test_a_minute_at_10_hz_is_one_file_per_device_with_600_timestamps(facility, tmp_path):
    run = simulation(facility, duration=MINUTE)

    paths = list(simulate(run, tmp_path))

    assert len(paths) == len(run.files) == 3
    for path, (group, datasets) in zip(
        paths,
        {
            CAMERA: {"STATE", "ROIImageLow"},
            METER: {"STATE", "energy1Corrected", "energy2Corrected"},
            SPECTRO: {"STATE", "intensityFitted"},
        }.items(),
        strict=True,
    ):
        with h5py.File(path) as file:
            assert len(file) == 600
            assert all(
                list(instant) == [group] and set(instant[group]) == datasets for instant in file.values()
            )


def test_datasets_have_the_shapes_types_and_filters_of_the_real_ones(facility, tmp_path):
    camera, energy, spectrum = (h5py.File(path)[stamp] for path, stamp in _first_records(facility, tmp_path))

    assert camera[CAMERA]["STATE"][()] == b"ON"
    image = camera[CAMERA]["ROIImageLow"]
    assert (image.shape, image.dtype, image.chunks) == ((102, 128), np.uint16, (102, 128))
    assert (image.compression, image.shuffle) == ("gzip", True)
    assert image[:].max() > 2000
    assert spectrum[SPECTRO]["intensityFitted"].shape == (2047,)
    assert spectrum[SPECTRO]["intensityFitted"][:].sum() > 0
    assert energy[METER]["energy1Corrected"][0] > 0


def _first_records(facility: Facility, folder: Path) -> list[tuple[Path, str]]:
    found = []
    for path in simulate(simulation(facility), folder):
        with h5py.File(path) as file:
            found.append((path, next(iter(file))))
    return found


def test_names_are_read_back_by_the_facility(facility, tmp_path):
    [path, *_] = simulate(simulation(facility), tmp_path)

    assert path.name == "LA_A1-11-Camera-1-Camera-1_100ms_snapshot_2022-07-01_07-33-00.h5"
    name = facility.file_name(path.name)
    assert name is not None
    assert (str(name.area), name.interval, name.starts_at) == ("LA", "100ms", START)


def test_every_device_of_the_facility_has_a_file_of_its_own(facility):
    files = snapshot_files(recorders(facility, facility.places), START, MINUTE)

    assert len({file.name for file in files}) == len(files) == sum(len(p.devices) for p in facility.places)
    assert all(facility.file_name(file.name) for file in files)


def test_records_of_all_devices_meet_at_the_pulses_of_the_grid(facility, tmp_path):
    interval = facility.interval("100ms")
    for path in simulate(simulation(facility), tmp_path):
        name = facility.file_name(path.name)
        assert name is not None
        with h5py.File(path) as file:
            times = np.array([name.record_time_ms(stamp) for stamp in file])
        assigned = assign_pulses(times, interval)
        assert assigned.on_grid.all()
        np.testing.assert_array_equal(assigned.pulses, epoch_ms(START) + 100 * np.arange(50))


def test_midnight_is_no_special_time(facility, tmp_path):
    start = datetime(2022, 6, 30, 23, 59, 58, tzinfo=UTC)
    run = simulation(facility, start=start, duration=timedelta(seconds=4), file_length=timedelta(seconds=2))

    paths = list(simulate(run, tmp_path))

    times = []
    for path in paths[::3]:
        name = facility.file_name(path.name)
        assert name is not None
        with h5py.File(path) as file:
            times += [name.record_time_ms(stamp) for stamp in file]
    assigned = assign_pulses(np.array(times), facility.interval("100ms"))
    np.testing.assert_array_equal(assigned.pulses, epoch_ms(start) + 100 * np.arange(40))


def test_the_same_simulation_writes_the_same_bytes_with_any_number_of_processes(facility, tmp_path):
    run = simulation(facility, seed=7, duration=timedelta(seconds=2))

    list(simulate(run, tmp_path / "one"))
    list(simulate(run, tmp_path / "two", workers=2))

    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_single_shot_files_hold_the_records_that_a_longer_file_holds(facility, tmp_path):
    run = simulation(facility, duration=timedelta(seconds=1), all_expected=(small(A1),))
    single = simulation(facility, duration=timedelta(seconds=1), file_length=timedelta(milliseconds=100))

    [long_file, *_] = simulate(run, tmp_path / "long")
    singles = list(simulate(single, tmp_path / "single"))[::3]

    assert len(singles) == 10
    assert all(facility.file_name(path.name) for path in singles)
    with h5py.File(long_file) as whole:
        for path, stamp in zip(singles, whole, strict=True):
            with h5py.File(path) as one:
                assert list(one) == [stamp]
                name = f"{stamp}/{CAMERA}/ROIImageLow"
                np.testing.assert_array_equal(one[name], whole[name])


def test_a_pulse_a_minute_gives_a_file_a_minute(facility, tmp_path):
    run = simulation(facility, all_expected=(small(ShotSeries.parse("LA-A3-31-60s")),), duration=3 * MINUTE)

    paths = list(simulate(run, tmp_path))

    assert len(paths) == 9
    with h5py.File(paths[0]) as file:
        assert len(file) == 1


def test_labels_state_what_the_files_hold(facility, tmp_path):
    expected, pulse = small(A1), epoch_ms(START) + 2000
    run = simulation(
        facility,
        injections=(
            inject(facility, expected, Kind.MISSING_SAMPLE, pulse, device=METER),
            inject(facility, expected, Kind.FAULT, pulse + 1000, device=CAMERA, count=2),
        ),
    )

    paths = {path.name: path for path in simulate(run, tmp_path)}
    missing, fault = read_labels(tmp_path)

    assert (missing.kind, missing.expected) == ("missing_sample", AnomalyKind.MISSING_MEMBER)
    assert missing.shots == ("LA-A1-11-100ms-20220701T073302.000",)
    assert fault.shots == tuple(shot_id(A1, pulse + 1000 + 100 * n) for n in range(2))
    [meter_file], [camera_file] = missing.files, fault.files
    with h5py.File(paths[meter_file]) as file:
        assert not [stamp for stamp in file if stamp.startswith("07-33-02-0")]
        assert len(file) == 49
    with h5py.File(paths[camera_file]) as file:
        anomalous = [stamp for stamp, record in file.items() if record[CAMERA]["STATE"][()] == b"FAULT"]
    assert [stamp[:10] for stamp in anomalous] == ["07-33-03-0", "07-33-03-1"]


def test_an_injection_outside_the_files_has_no_label(facility):
    late = inject(facility, small(A1), Kind.FAULT, epoch_ms(START) + 3_600_000)

    assert simulation(facility, injections=(late,)).labels == ()


def test_a_missing_device_has_no_file_but_a_label_that_names_it(facility, tmp_path):
    injection = inject(facility, small(A1), Kind.MISSING_DEVICE, epoch_ms(START), device=METER, count=50)
    run = simulation(facility, injections=(injection,))

    names = [path.name for path in simulate(run, tmp_path)]

    [label] = read_labels(tmp_path)
    assert len(names) == 2
    assert len(label.shots) == 50
    assert label.files == ("LA_A1-11-EM-1-EnergyMeter-1_100ms_snapshot_2022-07-01_07-33-00.h5",)
    assert label.files[0] not in names


@pytest.mark.parametrize("kind", [Kind.EMPTY_FILE, Kind.NOT_HDF5_FILE, Kind.TRUNCATED_FILE])
def test_corrupt_files_cannot_be_opened_as_hdf5(facility, tmp_path, kind):
    injection = inject(facility, small(A1), kind, epoch_ms(START), device=METER, count=50)

    list(simulate(simulation(facility, injections=(injection,)), tmp_path))

    [label] = read_labels(tmp_path)
    corrupt = tmp_path / label.files[0]
    assert (corrupt.stat().st_size == 0) == (kind is Kind.EMPTY_FILE)
    with pytest.raises(OSError, match=r"truncated|signature"):
        h5py.File(corrupt)


def test_a_clock_that_jumps_never_gives_two_records_one_name(facility, tmp_path):
    """The last late record falls on the pulse of the first punctual one; the file is written all the same."""
    for count in (99, 100, 101):
        injection = inject(facility, small(A1), Kind.CLOCK_SKEW, epoch_ms(START), device=METER, count=count)
        run = simulation(facility, injections=(injection,), duration=timedelta(seconds=20))
        paths = list(simulate(run, tmp_path))
        with h5py.File(paths[1]) as file:
            assert 199 <= len(file) <= 200


def test_a_plan_has_every_gross_kind_at_shots_of_their_own(facility):
    all_expected = [small(A1), small(A2), small(ShotSeries.parse("LA-A3-31-60s"))]

    plan = plan_injections(facility, all_expected, START, 2 * MINUTE, each=2)

    assert sorted(injection.kind for injection in plan) == sorted(GROSS * 2)
    assert len({(injection.place, injection.pulse) for injection in plan}) == 16
    for injection in plan:
        assert injection.place != Place.parse("LA-A3-31")  # its files have no inner pulse
        offset = (injection.pulse - epoch_ms(START)) % 60_000
        period = injection.interval.period_ms
        assert 2 * period <= offset < 60_000 - period


def test_a_plan_is_repeatable_and_another_seed_gives_another(facility):
    plans = [plan_injections(facility, [small(A1)], START, MINUTE, seed=seed) for seed in (1, 1, 2)]

    assert plans[0] == plans[1] != plans[2]


def test_anomalies_of_whole_files_leave_room_for_the_others(facility):
    all_expected = [small(A1), small(ShotSeries.parse("LA-A1-12-100ms")), small(A2)]

    plan = plan_injections(facility, all_expected, START, 3 * MINUTE, kinds=list(Kind))

    assert sorted(injection.kind for injection in plan) == sorted(Kind)
    for a in plan:
        for b in plan:
            apart = a.pulse > b.pulses[-1] or b.pulse > a.pulses[-1]
            assert a is b or apart or a.place != b.place
    assert all(injection.count in (60, 600) for injection in plan if TRAITS[injection.kind].whole_file)


def test_a_plan_for_too_short_a_time_reports_it(facility):
    with pytest.raises(ValueError, match="no room for"):
        plan_injections(facility, [small(A2)], START, timedelta(seconds=5))


def test_the_labels_file_is_no_snapshot(facility):
    assert facility.file_name(LABELS_FILE) is None


def test_devices_of_other_kinds_record_their_state_alone(facility, tmp_path):
    expected = ExpectedDevices(A1.place, A1.interval, ("LA_A1_11-Saga_1-Saga-1",))
    assert facility.device_type(expected.devices[0]).kind is DeviceKind.OTHER

    [path] = simulate(simulation(facility, all_expected=(expected,)), tmp_path)

    with h5py.File(path) as file:
        assert all(list(record[expected.devices[0]]) == ["STATE"] for record in file.values())
