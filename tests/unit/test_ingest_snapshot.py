"""Snapshot files: what is read of good ones, what is reported of bad records, why bad files are rejected."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5g, h5p, h5s, h5t, h5z

from shotwatch_common.block import MAX_DATA_BYTES
from shotwatch_common.facility_file import load_facility
from shotwatch_ingest.domain import snapshot
from shotwatch_ingest.domain.expectation import Expectation
from shotwatch_ingest.domain.hdf5 import image as hdf5_reading
from shotwatch_ingest.domain.snapshot import DeviceSnapshot, Snapshot, read_snapshot, record_bytes
from shotwatch_shots.device_kinds import DeviceKind, EnergyDigest, ImageDigest, SpectrumDigest
from shotwatch_shots.errors import Reject
from shotwatch_shots.records import MOST_WINDOWS, RecordProblem
from shotwatch_shots.vocabulary import FileReason, RecordReason, SkipReason

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
KEY = "LA_Camera01-Recorder_100ms_snapshot_2022-07-01_07-33-00.h5"
START = 1_656_660_780_000
"""2022-07-01 07:33:00 UTC."""
LATEST = START + 3_650 * 86_400_000
"""Ten years later: the time of arrival matters in its own tests only."""
CAMERA = "LA_A1_11-Camera_1-Camera-1"
METER = "LA_A3_31-EM_1-EnergyMeter-1"
SPECTRO = "LA_A2-Spectro_1-Spectro-1"
SAGA = "LA_A1_11-Saga_1-Saga-1"
ON = np.bytes_("ON")
FRAMES = np.random.default_rng(1).integers(100, 4000, (5, 102, 128)).astype(np.uint16)
MIDDLE = 2
STATES = h5py.enum_dtype({"ON": 0, "OFF": 1, "FAULT": 8, "KNOWN": -13}, basetype=">i2")


def timestamp(n: int) -> str:
    return f"07-33-00-{100 * n:03d}"


def hdf5(write: Callable[[h5py.File], None], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        write(file)
    return buffer.getvalue()


def read(image: bytes, key: str = KEY, latest_ms: int = LATEST) -> Snapshot:
    name = FACILITY.file_name(key)
    assert name is not None
    return read_snapshot(key, image, name, FACILITY, latest_ms)


def only_device(image: bytes, key: str = KEY) -> DeviceSnapshot:
    [device] = read(image, key).devices
    return device


def write_record(file: h5py.File, n: int, group: str, data: dict[str, Any], state: Any = ON) -> None:
    record = file.create_group(f"{timestamp(n)}/{group}")
    record["STATE"] = state
    for name, values in data.items():
        record[name] = values


def write_camera(file: h5py.File, frames: Any = FRAMES) -> None:
    for n, frame in enumerate(frames):
        write_record(file, n, CAMERA, {})
        file[timestamp(n)][CAMERA].create_dataset("ROIImageLow", data=frame, chunks=(102, 128), compression=4)


def camera_file(damage: Callable[[h5py.Group], None] | None = None) -> bytes:
    """Five records of a camera, the middle one damaged."""

    def write(file: h5py.File) -> None:
        write_camera(file)
        if damage:
            damage(file[timestamp(MIDDLE)][CAMERA])

    return hdf5(write)


def records(group: str, *data: dict[str, Any], state: Any = ON) -> bytes:
    def write(file: h5py.File) -> None:
        for n, each in enumerate(data):
            write_record(file, n, group, each, state)

    return hdf5(write)


class TestGoodFiles:
    def test_a_camera_file_is_read_whole(self):
        found = read(camera_file())

        assert found.interval == "100ms"
        assert found.skipped.counts == {}
        [device] = found.devices
        assert (device.device.group, str(device.device.place)) == (CAMERA, "LA-A1-11")
        assert device.device.kind is DeviceKind.CAMERA
        np.testing.assert_array_equal(device.block.arrays["image"], FRAMES)
        assert device.block.time.tolist() == [START + 100 * n for n in range(5)]
        assert device.block.state == ["ON"] * 5
        assert device.block.readable.all()
        assert device.problems == ()

    def test_frames_are_digested(self):
        frames = FRAMES.copy()
        frames[1, :3, 0] = 4092

        digest = only_device(hdf5(lambda file: write_camera(file, frames))).digest

        assert isinstance(digest, ImageDigest)
        assert digest.minimum.tolist() == [frame.min() for frame in frames]
        assert digest.maximum.tolist() == [frame.max() for frame in frames]
        assert digest.saturated.tolist() == [0, 3, 0, 0, 0]
        assert digest.fingerprint.tolist() == [zlib.crc32(frame.tobytes()) for frame in frames]

    def test_spectra_are_read_and_digested(self):
        spectra = np.random.default_rng(2).normal(50, 10, (3, 2047))
        spectra[1, 7] = np.nan

        device = only_device(records(SPECTRO, *({"intensityFitted": spectrum} for spectrum in spectra)))

        np.testing.assert_array_equal(device.block.arrays["spectrum"], spectra.astype(np.float32))
        assert device.problems == ()
        assert isinstance(device.digest, SpectrumDigest)
        np.testing.assert_allclose(device.digest.total, spectra.sum(axis=1), rtol=1e-6)
        assert np.isnan(device.digest.minimum).tolist() == [False, True, False]

    @pytest.mark.parametrize(
        "energy",
        [lambda x: x, lambda x: np.array([x]), lambda x: np.array([x, -1, -1]), lambda x: np.float32(x),
         lambda x: np.array([[x, -1]])],
    )  # fmt: skip
    def test_an_energy_is_the_first_element(self, energy: Callable[[float], Any]):
        pairs = [{"energy1Corrected": energy(n + 0.5), "energy2Corrected": energy(0.25)} for n in range(3)]

        device = only_device(records(METER, *pairs))

        assert isinstance(device.digest, EnergyDigest)
        assert device.digest.energy1.tolist() == [0.5, 1.5, 2.5]
        assert device.block.arrays["energy2"].tolist() == [0.25] * 3

    def test_a_device_without_data_of_its_own_has_states(self):
        device = only_device(records(SAGA, {}, {"current": 3}, state=np.bytes_("STANDBY")))

        assert device.block.state == ["STANDBY"] * 2
        assert (device.device.kind, device.digest, device.block.arrays) == (DeviceKind.OTHER, None, {})

    def test_one_file_may_hold_several_devices(self):
        def write(file: h5py.File) -> None:
            write_camera(file)
            write_record(file, 1, METER, {"energy1Corrected": 1.0, "energy2Corrected": 2.0})

        devices = {device.device.group: device for device in read(hdf5(write)).devices}

        assert {group: len(device.block.time) for group, device in devices.items()} == {CAMERA: 5, METER: 1}

    def test_the_older_layout_has_images_and_no_states(self):
        def write(file: h5py.File) -> None:
            for n in range(3):
                file[f"IMAGES/DTG_2/15-00-0{n}-000"] = FRAMES[n]
                file[f"IMAGES/DTG_99/15-00-0{n}-000"] = FRAMES[n]

        found = read(hdf5(write), "LB_images_2021-05-03.h5")

        assert found.interval == "1s"
        [device] = found.devices
        assert device.device.group == "LB_A2-Camera_1-Camera-1"
        assert device.block.state == ["ON"] * 3
        np.testing.assert_array_equal(device.block.arrays["image"], FRAMES[:3])
        assert [each.where for each in found.skipped.examples] == ["/IMAGES/DTG_99"]

    @pytest.mark.parametrize(
        "state",
        [
            *("ON", np.array(["ON"], object), np.array(["ON", "OFF"], object)),
            *(ON, np.array([b"ON"]), np.array([b"ON", b"OFF"]), np.bytes_("ON  "), np.bytes_(b"ON\0\0")),
        ],
    )
    def test_states_may_be_of_fixed_or_variable_length_scalar_or_arrays(self, state: Any):
        pair = {"energy1Corrected": 1.0, "energy2Corrected": 1.0}

        assert only_device(records(METER, pair, pair, state=state)).block.state == ["ON", "ON"]

    def test_an_enumerated_state_is_the_name_of_its_value(self):
        def write(file: h5py.File) -> None:
            for n, value in enumerate([0, 8, -13]):
                write_record(file, n, SAGA, {}, state=np.array(value, STATES))

        assert only_device(hdf5(write)).block.state == ["ON", "FAULT", "KNOWN"]

    def test_a_file_that_runs_over_midnight_is_in_the_order_of_time(self):
        key = "LA_Camera01-Recorder_100ms_snapshot_2022-07-01_23-59-59.h5"
        times = ["23-59-59-900", "00-00-00-000", "00-00-00-100"]

        def write(file: h5py.File) -> None:
            for time, frame in zip(times, FRAMES, strict=False):
                file[f"{time}/{CAMERA}/ROIImageLow"] = frame

        device = only_device(hdf5(write), key)

        assert np.diff(device.block.time).tolist() == [100, 100]
        np.testing.assert_array_equal(device.block.arrays["image"], FRAMES[:3])

    @pytest.mark.parametrize(
        "options", [{"libver": "latest"}, {"userblock_size": 512}, {"track_order": True}]
    )
    def test_the_vintage_of_the_file_does_not_matter(self, options: dict[str, Any]):
        device = only_device(hdf5(write_camera, **options))

        np.testing.assert_array_equal(device.block.arrays["image"], FRAMES)

    def test_what_is_no_record_is_skipped_and_reported(self):
        def write(file: h5py.File) -> None:
            write_camera(file)
            file["settings/gain"] = 3
            file["99-99-99-999/x"] = 3
            file[f"{timestamp(0)}/Weather-Station"] = 3
            file[timestamp(9)] = h5py.SoftLink("/settings")
            file[timestamp(8)] = 3

        found = read(hdf5(write))

        assert len(found.devices) == 1
        skipped = {each.where: (each.reason, each.detail) for each in found.skipped.examples}
        assert skipped.keys() == {
            "/settings",
            "/99-99-99-999",
            "/07-33-00-000/Weather-Station",
            "/07-33-00-900",
            "/07-33-00-800",
        }
        reason, detail = skipped["/settings"]
        assert reason is SkipReason.NOT_A_TIME
        assert "time of day" in detail
        reason, detail = skipped["/07-33-00-900"]
        assert reason is SkipReason.UNREADABLE
        assert "not followed" in detail


def put(name: str, value: Any) -> Callable[[h5py.Group], None]:
    def damage(record: h5py.Group) -> None:
        del record[name]
        if value is not None:
            record[name] = value

    return damage


def frame(value: Any) -> Callable[[h5py.Group], None]:
    return put("ROIImageLow", value)


def store_outside(record: h5py.Group) -> None:
    del record["ROIImageLow"]
    record.create_dataset("ROIImageLow", (102, 128), np.uint16, external=[("/etc/hostname", 0, 26112)])


def make_virtual(record: h5py.Group) -> None:
    del record["ROIImageLow"]
    layout = h5py.VirtualLayout((102, 128), np.uint16)
    layout[:] = h5py.VirtualSource("/tmp/elsewhere.h5", "x", (102, 128))
    record.create_virtual_dataset("ROIImageLow", layout)


def enumerate_state(number: int) -> Callable[[h5py.Group], None]:
    def damage(record: h5py.Group) -> None:
        del record["STATE"]
        record.create_dataset("STATE", data=number, dtype=STATES)

    return damage


def break_chunk(record: h5py.Group) -> None:
    record["ROIImageLow"].id.write_direct_chunk((0, 0), b"not deflated")


def ask_for_a_plugin(record: h5py.Group) -> None:
    """A filter that no library has, as its number is free: HDF5 would search for a plug-in to load."""
    del record["ROIImageLow"]
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk((102, 128))
    plist.set_filter(32_000, h5z.FLAG_OPTIONAL, (1, 2))
    space = h5s.create_simple((102, 128))
    made = h5d.create(record.id, b"ROIImageLow", h5t.STD_U16LE, space, plist)
    made.write_direct_chunk((0, 0), b"filtered")


class TestBadRecords:
    @pytest.mark.parametrize(
        ("damage", "reason", "detail"),
        [
            (frame(None), RecordReason.DATA_MISSING, "ROIImageLow is not there"),
            (frame(FRAMES[0, :50]), RecordReason.WRONG_SHAPE, "is 50 x 128, not 102 x 128"),
            (frame(np.uint16(3)), RecordReason.WRONG_SHAPE, "is a single value, not 102 x 128"),
            (frame(h5py.Empty("u2")), RecordReason.WRONG_SHAPE, "not 102 x 128"),
            (frame("image"), RecordReason.WRONG_TYPE, "holds text, not whole numbers"),
            (frame(FRAMES[0] / 3), RecordReason.WRONG_TYPE, "holds real numbers, not whole"),
            (frame(FRAMES[0].astype([("a", "u2")])), RecordReason.WRONG_TYPE, "holds compounds"),
            (frame(FRAMES[0].astype("i4") + 70_000), RecordReason.OUT_OF_RANGE, "outside 0..65535"),
            (frame(-FRAMES[0].astype("i4")), RecordReason.OUT_OF_RANGE, "outside 0..65535"),
            (frame(h5py.SoftLink("/x")), RecordReason.DATA_MISSING, "is a soft link"),
            (frame(h5py.ExternalLink("/x.h5", "/x")), RecordReason.DATA_MISSING, "is an external link"),
            (store_outside, RecordReason.DATA_MISSING, "lies outside the file"),
            (make_virtual, RecordReason.DATA_MISSING, "lies outside the file"),
            (break_chunk, RecordReason.DATA_MISSING, "cannot be read"),
            (ask_for_a_plugin, RecordReason.DATA_MISSING, "cannot be read"),
        ],
    )
    def test_a_damaged_frame_is_reported_and_disturbs_no_other(
        self, damage: Callable[[h5py.Group], None], reason: RecordReason, detail: str
    ):
        device = only_device(camera_file(damage))

        [problem] = device.problems
        assert (problem.row, problem.reason) == (MIDDLE, reason)
        assert detail in problem.detail
        others = np.arange(5) != MIDDLE
        assert device.block.readable.tolist() == others.tolist()
        np.testing.assert_array_equal(device.block.arrays["image"], FRAMES * others[:, None, None])
        assert device.block.state == ["ON"] * 5
        assert isinstance(device.digest, ImageDigest)
        assert device.digest.fingerprint[MIDDLE] == 0

    @pytest.mark.parametrize(
        ("damage", "detail"),
        [
            (put("STATE", None), "STATE is not there"),
            (put("STATE", 3.5), "STATE holds real numbers, not text or enumerated values"),
            (put("STATE", np.bytes_("")), "STATE is empty"),
            (put("STATE", h5py.Empty("S2")), "STATE is empty"),
            (put("STATE", np.bytes_("O" * 300)), "STATE holds values of 300 bytes"),
            (put("STATE", np.bytes_("O" * 65)), "STATE has 65 bytes, more than 64"),
            (put("STATE", "O" * 20_000_000), "STATE has 20000000 bytes, more than 64"),
            (enumerate_state(5), "STATE is 5, which its enumeration does not name"),
        ],
    )
    def test_a_record_without_a_state_keeps_its_data(self, damage: Callable[[h5py.Group], None], detail: str):
        device = only_device(camera_file(damage))

        assert device.problems == (
            RecordProblem(row=MIDDLE, reason=RecordReason.STATE_MISSING, detail=detail),
        )
        assert device.block.state == ["ON", "ON", None, "ON", "ON"]
        np.testing.assert_array_equal(device.block.arrays["image"], FRAMES)

    def test_a_missing_energy_is_no_number(self):
        device = only_device(
            records(METER, {"energy1Corrected": 1.0, "energy2Corrected": 2.0}, {"energy1Corrected": 1.0})
        )

        assert [(problem.row, problem.reason) for problem in device.problems] == [
            (1, RecordReason.DATA_MISSING)
        ]
        assert isinstance(device.digest, EnergyDigest)
        np.testing.assert_array_equal(device.digest.energy2, [2.0, np.nan])

    def test_a_group_behind_a_link_is_a_record_without_data(self):
        def write(file: h5py.File) -> None:
            write_camera(file)
            file[f"{timestamp(8)}/{CAMERA}"] = h5py.SoftLink(f"/{timestamp(0)}/{CAMERA}")

        device = only_device(hdf5(write))

        assert {(problem.row, problem.reason) for problem in device.problems} == {
            (5, RecordReason.DATA_MISSING),
            (5, RecordReason.STATE_MISSING),
        }

    def test_a_link_to_a_readable_file_elsewhere_is_not_followed(self, tmp_path: Path):
        (tmp_path / "elsewhere.h5").write_bytes(hdf5(lambda file: file.create_dataset("x", data=FRAMES[0])))
        link = h5py.ExternalLink(str(tmp_path / "elsewhere.h5"), "/x")

        device = only_device(camera_file(put("ROIImageLow", link)))

        assert not device.block.readable[MIDDLE]

    def test_storage_elsewhere_is_not_read(self, tmp_path: Path):
        (tmp_path / "frame.raw").write_bytes(FRAMES[0].tobytes())

        def damage(record: h5py.Group) -> None:
            del record["ROIImageLow"]
            external = [(str(tmp_path / "frame.raw"), 0, FRAMES[0].nbytes)]
            record.create_dataset("ROIImageLow", (102, 128), np.uint16, external=external)

        assert not only_device(camera_file(damage)).block.readable[MIDDLE]


def rejection(image: bytes, key: str = KEY, latest_ms: int = LATEST) -> Reject:
    with pytest.raises(Reject) as rejected:
        read(image, key, latest_ms)
    assert rejected.value.detail.startswith(f"{key}: ")
    return rejected.value


class TestBadFiles:
    def test_a_file_of_zero_bytes_is_empty(self):
        assert rejection(b"").reason == FileReason.EMPTY

    @pytest.mark.parametrize(
        "image",
        [b"\0", b"\x89HDF\r\n", b"PK\x03\x04" * 1000, Random(1).randbytes(5000)],
        ids=["zero", "beginning", "archive", "noise"],
    )
    def test_other_bytes_are_not_hdf5(self, image: bytes):
        assert rejection(image).reason == FileReason.NOT_HDF5

    def test_a_file_cut_anywhere_is_truncated(self):
        image = camera_file()

        reasons = {rejection(image[:size]).reason for size in range(8, len(image), 1 + len(image) // 200)}

        assert reasons == {FileReason.TRUNCATED}

    @pytest.mark.parametrize(
        "write",
        [
            lambda file: file.attrs.update(owner="nobody"),
            lambda file: file.create_dataset("x", data=[1, 2, 3]),
            lambda file: file.create_group("entry/data"),
            lambda file: file.create_group(f"{timestamp(0)}/Weather-Station"),
            lambda file: file.create_group(timestamp(0)),
        ],
    )
    def test_hdf5_without_a_device_is_not_a_snapshot(self, write: Callable[[h5py.File], None]):
        assert rejection(hdf5(write)).reason == FileReason.NOT_A_SNAPSHOT

    def test_an_older_layout_without_images_is_not_a_snapshot(self):
        with pytest.raises(Reject) as rejected:
            read(camera_file(), "LB_images_2021-05-03.h5")

        assert rejected.value.reason == FileReason.NOT_A_SNAPSHOT

    def test_a_file_whose_timestamps_cannot_be_opened_is_unreadable(self):
        rejected = rejection(hdf5(lambda file: file.create_dataset(timestamp(0), data=1)))

        assert rejected.reason == FileReason.UNREADABLE
        assert f"/{timestamp(0)}: cannot be read" in rejected.detail

    def test_damage_in_the_superblock_is_unreadable(self):
        image = camera_file()

        assert rejection(image[:9] + b"\xff" * 7 + image[16:]).reason == FileReason.UNREADABLE

    def test_a_file_all_of_whose_data_are_of_a_wrong_type_is_rejected(self):
        rejected = rejection(records(CAMERA, {"ROIImageLow": "a"}, {"ROIImageLow": "b"}))

        assert rejected.reason == FileReason.WRONG_TYPES
        assert "ROIImageLow holds text, not whole numbers" in rejected.detail

    def test_a_chunk_that_would_not_fit_the_memory_is_not_read(self):
        def damage(record: h5py.Group) -> None:
            del record["ROIImageLow"]
            record.create_dataset(
                "ROIImageLow", (102, 128), np.uint16, chunks=(1 << 14, 1 << 14), maxshape=(None, None)
            )

        rejected = rejection(camera_file(damage))

        assert rejected.reason == FileReason.TOO_LARGE
        assert "chunks are 536870912 bytes" in rejected.detail

    def test_a_large_chunk_that_many_records_share_is_not_decoded_for_each(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        def share(count: int) -> bytes:
            def write(file: h5py.File) -> None:
                for n in range(count):
                    record = file.create_group(f"{timestamp(n)}/{CAMERA}")
                    record["STATE"] = ON
                    if n == 0:
                        options = {"chunks": (1 << 10, 1 << 10), "maxshape": (None, None), "compression": 1}
                        record.create_dataset("ROIImageLow", data=FRAMES[0], **options)
                    else:
                        record["ROIImageLow"] = file[timestamp(0)][CAMERA]["ROIImageLow"]

            return hdf5(write)

        monkeypatch.setattr(hdf5_reading, "MAX_CHUNKS_BYTES", 6 * (2 << 20) - 1)
        np.testing.assert_array_equal(only_device(share(5)).block.arrays["image"], FRAMES[[0] * 5])
        assert rejection(share(6)).reason == FileReason.TOO_LARGE

    def test_absurd_shapes_are_problems_of_their_records(self):
        def damage(record: h5py.Group) -> None:
            del record["ROIImageLow"]
            record.create_dataset("ROIImageLow", (1 << 31, 1 << 31), np.uint16, chunks=(64, 64))

        [problem] = only_device(camera_file(damage)).problems

        assert problem.reason is RecordReason.WRONG_SHAPE

    def test_more_data_than_fit_the_memory_are_not_read(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(snapshot, "MAX_DECODED_BYTES", FRAMES.nbytes - 1)

        assert rejection(camera_file()).reason == FileReason.TOO_LARGE

    def test_no_more_names_are_listed_than_a_file_may_have(self, monkeypatch: pytest.MonkeyPatch):
        """Five timestamps, five groups, ten datasets."""
        monkeypatch.setattr(hdf5_reading, "MAX_NAMES", 20)
        assert read(camera_file())
        monkeypatch.setattr(hdf5_reading, "MAX_NAMES", 19)

        assert rejection(camera_file()).reason == FileReason.TOO_LARGE


SLASH = "~"
"""Stands for a slash in a name until the file is written: h5py would make groups of the parts."""


def with_slashes(image: bytes, name: str) -> bytes:
    stored = name.encode("utf-8", "surrogateescape")
    return image.replace(stored, stored.replace(SLASH.encode(), b"/"))


class TestNames:
    """A name is one step in the file, a part of keys, and text on screens."""

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            (f"{CAMERA}\x1b[31m", "control or bidirectional"),
            (f"{CAMERA}\u202e", "control or bidirectional"),
            (f"{CAMERA}\n", "control or bidirectional"),
            (f"{CAMERA}{SLASH}..{SLASH}..{SLASH}x", "read as a path"),
            (f"{CAMERA}-{'q' * 300}", "longer than 255 bytes"),
            (f"{CAMERA}-{'é' * 120}", "longer than 255 bytes"),
            (f"{CAMERA}-\udcff", "not UTF-8"),
        ],
    )
    def test_a_name_that_no_recorder_writes_is_skipped(self, name: str, problem: str):
        def write(file: h5py.File) -> None:
            write_camera(file)
            h5g.create(file.create_group(timestamp(7)).id, name.encode("utf-8", "surrogateescape"))

        found = read(with_slashes(hdf5(write), name))

        assert [device.device.group for device in found.devices] == [CAMERA]
        [skipped] = found.skipped.examples
        assert skipped.reason is SkipReason.BAD_NAME
        assert problem in skipped.detail
        assert (skipped.where + skipped.detail).isprintable()
        assert len(skipped.where + skipped.detail) < 300

    def test_a_file_of_such_names_alone_is_rejected(self):
        rejected = rejection(records(f"{CAMERA}\u202e", {}))

        assert rejected.reason == FileReason.BAD_NAMES
        assert rejected.detail.isprintable()

    def test_a_name_with_a_slash_does_not_lead_through_an_external_link(self, tmp_path: Path):
        """`{METER}/e` is a hard link's name; read as a path it leads through `e`, an external link."""
        name = f"{METER}{SLASH}e"
        elsewhere = tmp_path / "elsewhere.h5"
        elsewhere.write_bytes(records(METER, {"energy1Corrected": 42.0, "energy2Corrected": 42.0}))

        def write(file: h5py.File) -> None:
            write_camera(file)
            inner = file.create_group(f"{timestamp(7)}/{METER}")
            inner["e"] = h5py.ExternalLink(str(elsewhere), f"/{timestamp(0)}/{METER}")
            file[timestamp(7)][name] = inner

        found = read(with_slashes(hdf5(write), name))

        assert found.skipped.counts == {SkipReason.BAD_NAME: 1}
        meter = next(device for device in found.devices if device.device.group == METER)
        assert np.isnan(meter.block.arrays["energy1"]).all()

    def test_a_group_that_lists_a_name_twice_is_not_read(self):
        """Which of the two HDF5 would open is not known."""

        def write(file: h5py.File) -> None:
            write_camera(file)
            for name in ("aa", "ab"):
                file.create_group(f"{timestamp(7)}/{CAMERA}-{name}")

        found = read(hdf5(write).replace(f"{CAMERA}-ab".encode(), f"{CAMERA}-aa".encode()))

        assert found.skipped.counts == {SkipReason.UNREADABLE: 1}
        assert "twice" in found.skipped.examples[0].detail


class TestWhatIsExpected:
    """A file speaks of its own frontend, minute and interval, and of a handful of devices."""

    def test_the_devices_of_another_frontend_are_skipped(self):
        def write(file: h5py.File) -> None:
            write_camera(file)
            write_record(file, 0, CAMERA.replace("LA", "LB"), {})

        found = read(hdf5(write))

        assert [device.device.group for device in found.devices] == [CAMERA]
        assert found.skipped.counts == {SkipReason.FOREIGN_DEVICE: 1}

    def test_a_file_of_another_frontend_alone_is_rejected(self):
        assert rejection(records(CAMERA.replace("LA", "LB"), {})).reason == FileReason.FOREIGN_DEVICES

    def test_unexpected_devices_are_a_handful(self):
        """Beside all that the facility file expects of the place."""
        expected = [f"LA_A1_11-Camera_{n}-Camera-{n}" for n in range(1, 11)]

        def write(file: h5py.File) -> None:
            for group in (*expected, *(f"LA_A1_11-Camera_x{n:04d}-Camera-1" for n in range(2000))):
                file.create_group(f"{timestamp(0)}/{group}")

        found = read(hdf5(write))

        assert set(expected) < {device.device.group for device in found.devices}
        assert len(found.devices) == len(expected) + 16
        assert found.skipped.counts == {SkipReason.UNEXPECTED_DEVICE: 2000 - 16}
        assert len(found.skipped.examples) == 2

    @pytest.mark.parametrize(
        ("time", "kept"),
        [("07-32-49-999", False), ("07-32-50-000", True), ("07-34-10-000", True), ("07-34-10-001", False)],
    )
    def test_records_outside_the_files_minute_are_skipped(self, time: str, kept: bool):
        def write(file: h5py.File) -> None:
            write_camera(file)
            file.create_group(f"{time}/{CAMERA}")

        found = read(hdf5(write))

        assert found.skipped.counts == ({} if kept else {SkipReason.OUTSIDE_SPAN: 1})
        assert len(found.devices[0].block.time) == 5 + kept

    def test_a_file_of_other_times_alone_is_rejected(self):
        rejected = rejection(camera_file(), KEY.replace("07-33", "19-33"))

        assert rejected.reason == FileReason.OUTSIDE_SPAN
        assert f"{CAMERA} at 2022-07-02T07:33:00.000Z, the file covers 2022-07-01T19:32:50" in rejected.detail

    def test_records_later_than_the_arrival_allows_are_skipped(self):
        found = read(camera_file(), latest_ms=START + 200)

        assert found.devices[0].block.time.tolist() == [START, START + 100, START + 200]
        assert found.skipped.counts == {SkipReason.IMPOSSIBLE_TIME: 2}

    @pytest.mark.parametrize("day", ["2099-01-01", "9999-12-31", "1970-01-01", "2017-12-31", "0001-01-01"])
    def test_a_file_of_an_impossible_time_is_rejected_and_names_the_device(self, day: str):
        rejected = rejection(camera_file(), KEY.replace("2022-07-01", day))

        assert rejected.reason == FileReason.IMPOSSIBLE_TIME
        assert f"{CAMERA} at {day}T07:33:00.000Z" in rejected.detail

    def test_the_last_second_of_the_calendar_is_impossible_too(self):
        image = hdf5(lambda file: file.create_group(f"00-00-05-000/{CAMERA}"))

        rejected = rejection(image, "LA_r_60s_snapshot_9999-12-31_23-59-59.h5")

        assert rejected.reason == FileReason.IMPOSSIBLE_TIME
        assert "10000-01-01T00:00:05" in rejected.detail

    @pytest.mark.parametrize("interval", ["10s", "500ms", "0s", "1000ms"])
    def test_an_interval_that_the_facility_does_not_list_is_rejected(self, interval: str):
        rejected = rejection(camera_file(), KEY.replace("100ms", interval))

        assert rejected.reason == FileReason.UNKNOWN_INTERVAL
        assert f"no interval {interval}" in rejected.detail

    def test_records_of_a_device_are_bounded_by_the_pulses_in_the_files_span(self):
        """A 60 s recorder has two pulses in its file of 80 s; twice that, and eight, are read."""

        def write(file: h5py.File) -> None:
            for n in range(20):
                file.create_group(f"07-33-{n:02d}-000/{METER}")

        found = read(hdf5(write), KEY.replace("100ms", "60s"))

        assert len(found.devices[0].block.time) == 12
        assert found.skipped.counts == {SkipReason.TOO_MANY_RECORDS: 8}

    def test_a_group_is_visited_once_however_many_names_it_has(self):
        def write(file: h5py.File) -> None:
            write_camera(file)
            moment = file[timestamp(0)]
            moment["LA_A1_11-Camera_2-Camera-2"] = moment[CAMERA]
            file[timestamp(8)] = moment
            file.create_group(timestamp(9))[CAMERA] = moment[CAMERA]

        found = read(hdf5(write))

        assert [len(device.block.time) for device in found.devices] == [5]
        assert found.skipped.counts == {SkipReason.SAME_GROUP: 3}
        assert f"is the same group as /{timestamp(0)}/{CAMERA}" in found.skipped.examples[0].detail

    def test_a_dataset_may_be_shared_by_records(self):
        def write(file: h5py.File) -> None:
            write_camera(file)
            for n in range(1, 5):
                record = file[timestamp(n)][CAMERA]
                del record["STATE"]
                record["STATE"] = file[timestamp(0)][CAMERA]["STATE"]

        assert only_device(hdf5(write)).block.state == ["ON"] * 5


class TestStates:
    @pytest.mark.parametrize(
        ("state", "text"),
        [
            ("ON\x1b[31m", "ON\\x1b[31m"),
            ("\u202eNO", "\\u202eNO"),
            ("ON\n", "ON\\n"),
            ("<b>ON</b>", "<b>ON</b>"),
            ("NÖ", "NÖ"),
        ],
    )
    def test_what_cannot_be_seen_is_written_as_an_escape(self, state: str, text: str):
        assert only_device(records(SAGA, {}, state=state)).block.state == [text]

    def test_a_device_has_at_most_32_different_states_in_a_file(self):
        def write(file: h5py.File) -> None:
            for n in range(100):
                record = file.create_group(f"07-33-{n // 10:02d}-{100 * (n % 10):03d}/{SAGA}")
                record["STATE"] = f"S{n // 2:02d}"

        device = only_device(hdf5(write))

        assert {state for state in device.block.state if state} == {f"S{n:02d}" for n in range(32)}
        assert {problem.reason for problem in device.problems} == {RecordReason.STATE_MISSING}
        assert [problem.row for problem in device.problems] == list(range(64, 100))


class TestNumbersThatAreNotFinite:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.longdouble("1e4000")])
    @pytest.mark.parametrize("which", ["energy1Corrected", "energy2Corrected"])
    def test_an_energy_is_a_problem_of_its_record(self, value: Any, which: str):
        pair = {"energy1Corrected": 2.0, "energy2Corrected": 2.0}

        device = only_device(records(METER, pair, {**pair, which: value}))

        [problem] = device.problems
        assert (problem.row, problem.reason) == (1, RecordReason.NOT_FINITE)
        assert problem.detail.startswith(which)
        assert device.block.readable.tolist() == [True, False]


def test_a_device_with_more_data_than_fit_into_a_block_is_not_read() -> None:
    """A day of images: services read whole blocks, and again for each minute."""

    def images(count: int) -> bytes:
        def write(file: h5py.File) -> None:
            file["IMAGES/DTG_2/15-00-00-000"] = FRAMES[0]
            for n in range(1, count):
                time = f"15-{n // 60:02d}-{n % 60:02d}-000"
                file[f"IMAGES/DTG_2/{time}"] = h5py.SoftLink("/nowhere")

        return hdf5(write)

    fits = MAX_DATA_BYTES // FRAMES[0].nbytes
    rejected = rejection(images(fits + 1), "LB_images_2021-05-03.h5")

    assert rejected.reason == FileReason.TOO_LARGE
    assert f"LB_A2-Camera_1-Camera-1: {fits + 1} records hold" in rejected.detail
    assert f"{MAX_DATA_BYTES} at most are read of a device" in rejected.detail
    assert read(images(fits), "LB_images_2021-05-03.h5")


def test_a_small_file_with_records_in_too_many_windows_is_not_read() -> None:
    """A day of links that lead nowhere, at two places."""

    def moments(minutes: int) -> bytes:
        def write(file: h5py.File) -> None:
            for n in range(minutes):
                group = f"IMAGES/LA_F{1 + n // 1440}-Iseo_1-Iseo-1"
                file[f"{group}/{n // 60 % 24:02d}-{n % 60:02d}-30-000"] = h5py.SoftLink("/nowhere")

        return hdf5(write)

    rejected = rejection(moments(MOST_WINDOWS + 1), "LA_images_2021-05-03.h5")
    assert rejected.reason == FileReason.TOO_LARGE
    assert f"in {MOST_WINDOWS + 1} windows" in rejected.detail
    assert len(read(moments(MOST_WINDOWS), "LA_images_2021-05-03.h5").devices) == 2


def test_whatever_a_recorder_may_write_of_a_device_fits_into_a_block() -> None:
    """The 2021 tests' files are the exception: one covers a day, and 43 minutes of images at 1 Hz fit."""
    for interval in FACILITY.intervals:
        name = FACILITY.file_name(KEY.replace("100ms", interval.name))
        assert name is not None
        most = Expectation(KEY, name, FACILITY, 2_000_000_000_000).max_records
        for place in FACILITY.places:
            for group in place.devices:
                assert most * record_bytes(group, FACILITY) <= MAX_DATA_BYTES
