"""The facility file: what it reads off names, and how it reports what is wrong."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.durations import duration_ms
from shotwatch_shots.facility import FacilityError, FileName
from shotwatch_shots.place import Place

HPLS = Path(__file__).resolve().parents[2] / "facilities" / "hpls.yaml"
FACILITY = load_facility(HPLS)


def test_a_snapshot_name_gives_line_recorder_interval_and_start() -> None:
    name = FACILITY.file_name("any/folder/LA_CameraComputer02-Recorder_60s_snapshot_2022-07-01_07-33-00.h5")
    assert name is not None
    assert (str(name.area), name.recorder, name.interval) == ("LA", "CameraComputer02-Recorder", "60s")
    assert name.starts_at == datetime(2022, 7, 1, 7, 33, tzinfo=UTC)


@pytest.mark.parametrize(
    "key",
    [
        "readme.txt",
        "LA_x_60s_snapshot_2022-13-01_07-33-00.h5",
        "LC_x_60s_snapshot_2022-07-01_07-33-00.h5",
        "LA_x_60s_snapshot_2022-07-01_07-33-\uff10\uff10.h5",
    ],
)
def test_other_files_are_not_the_facilitys(key: str) -> None:
    assert FACILITY.file_name(key) is None


@pytest.mark.parametrize(
    ("group", "place", "kind"),
    [
        ("LA_A3_31-Camera_1-Camera-1", Place.parse("LA-A3-31"), DeviceKind.CAMERA),
        ("LA_A3_31-Atlas100_1-EnergyMeter-1", Place.parse("LA-A3-31"), DeviceKind.ENERGY_METER),
        ("LB_F1-Spectro_1-Spectro-1", Place.parse("LB-F1-00"), DeviceKind.SPECTRO),
        ("LA_TW_DI-Osciloscope_1", Place.parse("LA-TW_DI-00"), DeviceKind.OTHER),
        ("LA_A1_12-Something", Place.parse("LA-A1-12"), DeviceKind.OTHER),
    ],
)
def test_a_group_name_gives_place_and_kind(group: str, place: Place, kind: DeviceKind) -> None:
    device = FACILITY.device(group)
    assert device is not None
    assert (device.place, device.kind) == (place, kind)


def test_a_group_of_no_place_is_no_device() -> None:
    assert FACILITY.device("ControlRoom-Camera_1") is None


def test_the_expected_devices_are_those_of_the_whole_facility() -> None:
    devices = [FACILITY.device(group) for expected in FACILITY.places for group in expected.devices]
    at_10_hz = [expected for expected in FACILITY.places if expected.interval == "100ms"]
    cameras = [
        d for r in at_10_hz for d in map(FACILITY.device, r.devices) if d and d.kind is DeviceKind.CAMERA
    ]
    assert len(cameras) == 94
    assert sum(len(expected.devices) for expected in at_10_hz) == 94 + 80
    assert len(devices) == 94 + 80 + 23 + 3


def named(key: str) -> FileName:
    name = FACILITY.file_name(key)
    assert name is not None
    return name


def at(text: str) -> int:
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


@pytest.mark.parametrize(
    ("key", "timestamp", "time"),
    [
        ("LA_x_1s_snapshot_2022-07-01_07-33-00.h5", "07-33-00-125", "2022-07-01T07:33:00.125"),
        ("LA_x_1s_snapshot_2022-07-01_23-59-30.h5", "23-59-59-900", "2022-07-01T23:59:59.900"),
        ("LA_x_1s_snapshot_2022-07-01_23-59-30.h5", "00-00-00-000", "2022-07-02T00:00:00.000"),
        ("LA_x_1s_snapshot_2022-07-01_00-00-00.h5", "23-59-59-990", "2022-06-30T23:59:59.990"),
        ("LA_images_2022-07-01.h5", "00-00-00-000", "2022-07-01T00:00:00.000"),
        ("LA_images_2022-07-01.h5", "23-59-59-999", "2022-07-01T23:59:59.999"),
    ],
)
def test_a_record_belongs_to_the_day_that_is_nearest_to_its_file(key: str, timestamp: str, time: str) -> None:
    assert named(key).record_time_ms(timestamp) == at(time)


def test_a_file_covers_its_length_and_a_margin() -> None:
    minute = named("LA_x_1s_snapshot_2022-07-01_00-00-00.h5")
    assert minute.span_ms == (at("2022-06-30T23:59:50"), at("2022-07-01T00:01:10"))
    last_minute_of_all = named("LA_x_1s_snapshot_9999-12-31_23-59-59.h5")
    assert last_minute_of_all.span_ms[1] - last_minute_of_all.span_ms[0] == 80_000


@pytest.mark.parametrize(
    "text", ["7-33-00-125", "07-33-00", "24-00-00-000", "07:33:00.125", "", "٠٧-33-00-125"]
)
def test_a_time_spelt_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time of day"):
        named("LA_x_1s_snapshot_2022-07-01_07-33-00.h5").record_time_ms(text)


@pytest.mark.parametrize("text", ["0s", "1m", "fast", "-1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_ms(text)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = HPLS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "facility.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("black_below: 40", "black_below: dark", "number"),
        ("energy_disagreement: 0.2", "energy_disagreement: 0.2\nwhatever: 1", "whatever"),
        ("    interval: 60s", "    interval: 61s", "interval 61s is not listed"),
        ("kind: Spectro", "kind: EnergyMeter", "has 2 dataset"),
        ("arrangement: images", "arrangement: spirals", "arrangement must be"),
        ("{name: 1s,", "{name: 1 second,", "not a duration"),
        ("first_day: 2018-01-01", "first_day: 1st of May", "date"),
        ("length_s: 60", "length_s: 0", "length_s must be"),
        ("margin_s: 10", "margin_s: -1", "margin_s must be"),
    ],
)
def test_a_wrong_facility_file_is_refused_with_the_line(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(FacilityError, match=complaint) as refusal:
        load_facility(path)
    number = int(str(refusal.value).partition(f"{path}:")[2].partition(":")[0])
    line = path.read_text(encoding="utf-8").splitlines()[number - 1]
    assert new.splitlines()[-1].partition(":")[0].strip(" {-") in line or "name: " in line


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "facility.yaml"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(FacilityError, match="is not YAML"):
        load_facility(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FacilityError, match="cannot be read"):
        load_facility(tmp_path / "nowhere.yaml")
