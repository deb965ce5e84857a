"""Recorded images become snapshot files: reading, binning, repeating, and the change of regime."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from shotwatch_common.facility_file import load_facility
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import Place
from shotwatch_shots.vocabulary import AnomalyKind
from shotwatch_simulator.files import Recorder
from shotwatch_simulator.frames import Sensor, expose
from shotwatch_simulator.image_reader import read_images
from shotwatch_simulator.packing import PackedFile, Packing, pack, plan_recorded
from shotwatch_simulator.recordings import (
    bin_windows,
    change_of_regime,
    find_frame,
    load_recording,
)
from tests.unit.labels import read_labels

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BEAMS = ROOT.parent / "shared" / "data" / "beams"
START = datetime(2023, 5, 6, 15, 20, tzinfo=UTC)
SHAPE = (102, 128)
CAMERA = "LA_A2-Camera_1-Camera-1"
EXPECTED = ExpectedDevices(
    Place.parse("LA-A2-00"),
    "1s",
    ("LA_A2-Camera_1-Camera-1", "LA_A2-EM_1-EnergyMeter-1", "LA_A2-Spectro_1-Spectro-1"),
)


@pytest.fixture(scope="module")
def facility() -> Facility:
    return load_facility(ROOT / "facilities" / "hpls.yaml")


def spot(column: float = 200.0, *, brightness: float = 800.0) -> np.ndarray:
    """A Gaussian beam of whole counts, 240 x 300 px, on a faint background."""
    rows, columns = np.indices((240, 300))
    return np.rint(10 + brightness * np.exp(-((rows - 120) ** 2 + (columns - column) ** 2) / 900))


def record_frames(folder: Path, count: int = 30, changes_at: int | None = None) -> Path:
    """A folder of PNG images, one a second, whose light grows by 5 % at one of them."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for n in range(count):
        changed = changes_at is not None and n >= changes_at
        frame = spot(brightness=800 * rng.normal(1.05 if changed else 1, 0.002)).astype(np.uint16)
        Image.fromarray(frame).save(folder / f"cam-1526{n:02d}-{n + 95}.png")
    return folder


def shown(folder: Path, facility: Facility, recorder: Recorder, repeat: int = 1) -> Packing:
    """The images of a folder, in the order of their names, as what one camera saw."""
    recording = load_recording(folder, SHAPE)
    sequence = np.repeat(np.arange(len(recording.sources)), repeat)
    return Packing(facility, (recorder,), recording, START, sequence)


def images(packing: Packing, folder: Path) -> tuple[list[PackedFile], np.ndarray]:
    """The files packed, and all frames of the first camera in the order of time."""
    files = list(pack(packing, folder))
    frames = []
    for packed in files:
        if "Camera-1" in packed.path.name:
            with h5py.File(packed.path) as file:
                frames += [record[f"{CAMERA}/ROIImageLow"][:] for record in file.values()]
    return files, np.array(frames)


def save_mat(path: Path, image: np.ndarray) -> None:
    savemat(path, {"data": {"name": "CAM", "img": image, "res": 4.65}, "small": np.eye(3)})


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.png", lambda path, image: Image.fromarray(image).save(path)),
        ("a.pgm", lambda path, image: Image.fromarray(image).save(path)),
        ("a.tif", lambda path, image: Image.fromarray(image).save(path)),
        ("a.npy", np.save),
        ("a.mat", save_mat),
    ],
)
def test_every_format_gives_back_the_image_that_was_saved(tmp_path, name, save):
    image = spot().astype(np.uint16)
    save(tmp_path / name, image)

    [read] = read_images(tmp_path / name)

    np.testing.assert_array_equal(read, image)


def test_files_of_many_images_give_all_of_them_in_order(tmp_path):
    frames = np.stack([spot(column) for column in (100, 150, 200)]).astype(np.uint16)
    np.save(tmp_path / "stack.npy", frames)
    pages = [Image.fromarray(frame) for frame in frames]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])

    for name in ("stack.npy", "pages.tif"):
        np.testing.assert_array_equal(np.stack(read_images(tmp_path / name)), frames)


def test_colours_become_luminance(tmp_path):
    grey = np.clip(spot() / 4, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "colour.png")

    np.testing.assert_array_equal(read_images(tmp_path / "colour.png")[0], grey)


def test_binning_averages_whole_native_pixels():
    image = np.arange(204 * 256, dtype=np.float64).reshape(204, 256)

    [window] = bin_windows(image, SHAPE, None, 0)

    np.testing.assert_allclose(window, image.reshape(102, 2, 128, 2).mean(axis=(1, 3)))


def test_shifts_are_windows_of_the_native_image_never_interpolated():
    image = np.random.default_rng(1).integers(0, 1000, (206, 258)).astype(np.uint16)

    windows = bin_windows(image, SHAPE, None, 1)

    for n, (down, right) in enumerate((down, right) for down in range(3) for right in range(3)):
        moved = image[down : down + 204, right : right + 256].reshape(102, 2, 128, 2)
        np.testing.assert_allclose(windows[n], moved.mean(axis=(1, 3)), rtol=1e-6)


def test_a_crop_is_taken_before_binning():
    image = np.zeros((600, 800))
    image[100:304, 200:456] = 7

    [window] = bin_windows(image, SHAPE, (100, 200, 204, 256), 0)

    assert (window == 7).all()


def test_an_image_that_is_too_small_is_refused_by_name(tmp_path):
    np.save(tmp_path / "tiny.npy", np.ones((50, 50)))

    with pytest.raises(ValueError, match=r"tiny\.npy: 50 x 50 px is too small"):
        load_recording(tmp_path, SHAPE)


@pytest.mark.parametrize(
    ("full_scale", "number"), [(255, np.uint8), (1023, np.uint16), (4095, float), (65472, np.uint16)]
)
def test_a_binned_pixel_is_saturated_if_one_of_its_native_pixels_is(facility, tmp_path, full_scale, number):
    folder, faint = tmp_path / "frames", spot() * (full_scale / 2000)
    folder.mkdir()
    bright = faint.copy()
    bright[120, 150] = full_scale
    for n, frame in enumerate((faint, bright)):
        np.save(folder / f"{n}.npy", np.rint(frame).astype(number))

    packing = shown(folder, facility, Recorder(CAMERA, facility.interval("1s")), repeat=5)
    _, frames = images(packing, tmp_path)

    # 204 x 256 of the 240 x 300 px are used, from row 18 and column 22 on, moved by at most 1 px
    saturated = np.argwhere(frames == 4092)
    assert saturated[:, 0].tolist() == [5, 6, 7, 8, 9]
    assert (np.abs(saturated[:, 1:] - [(120 - 18) // 2, (150 - 22) // 2]) <= 1).all()


def test_the_mean_of_binned_pixels_hides_no_saturation(tmp_path):
    frame = spot().astype(np.uint16)
    frame[100:150:9, 100:150:9] = 4095
    np.save(tmp_path / "a.npy", frame)

    recording = load_recording(tmp_path, SHAPE, jitter=0)

    [saturated] = bin_windows((frame == 4095).astype(float), SHAPE, None, 0) > 0
    assert 0 < saturated.sum() < frame.size
    np.testing.assert_array_equal(recording.saturated(0, 0), saturated)
    assert recording.light(0, 0)[saturated].min() < recording.light(0, 0).max()


def test_a_dark_image_of_another_number_type_stays_dark(tmp_path):
    np.save(tmp_path / "1.npy", spot().astype(np.uint16))
    np.save(tmp_path / "2.npy", np.zeros((240, 300)))

    recording = load_recording(tmp_path, SHAPE)

    assert recording.total[0] > recording.total[1] == 0


def test_skipped_files_are_part_of_a_recording_and_of_a_refusal(tmp_path):
    (tmp_path / "damaged.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no image with light.*damaged\.png: it is not a PNG"):
        load_recording(tmp_path, SHAPE)

    np.save(tmp_path / "1.npy", spot())

    [skipped] = load_recording(tmp_path, SHAPE).skipped
    assert skipped.name == "damaged.png"


def test_a_frame_from_which_a_brighter_one_was_subtracted_is_skipped_with_the_reason(tmp_path):
    np.save(tmp_path / "1.npy", spot())
    np.save(tmp_path / "2.npy", spot() - spot().max())

    recording = load_recording(tmp_path, SHAPE)

    assert len(recording.sources) == 1
    assert [(each.name, "no light" in each.reason) for each in recording.skipped] == [("2.npy", True)]


def test_pixels_below_zero_are_dark():
    light = np.full((1, 20, 20), -3, np.float32)

    frames = expose(light, Sensor(4095, 16.0, 1.0, 10.0), np.ones_like(light))

    assert (frames == 16 - 3 + 1).all()


def test_a_folder_without_images_or_without_light_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="no image with light"):
        load_recording(tmp_path, SHAPE)

    np.save(tmp_path / "dark.npy", np.zeros((240, 300)))
    with pytest.raises(ValueError, match="no image with light"):
        load_recording(tmp_path, SHAPE)


def test_frames_are_ordered_by_the_numbers_in_their_names(tmp_path):
    for n in (10, 9, 100):
        np.save(tmp_path / f"frame-{n}.npy", spot())

    recording = load_recording(tmp_path, SHAPE)

    assert [source.path.stem for source in recording.sources] == ["frame-9", "frame-10", "frame-100"]


def test_frames_of_different_depth_share_no_scale_and_frames_of_one_depth_do(tmp_path):
    np.save(tmp_path / "1.npy", spot(brightness=50_000).astype(np.uint16))
    np.save(tmp_path / "2.npy", spot(brightness=25_000).astype(np.uint16))
    np.save(tmp_path / "3.npy", spot(brightness=200).astype(np.uint8))

    recording = load_recording(tmp_path, SHAPE)

    brightest = [recording.light(frame, recording.shifts // 2).max() for frame in range(3)]
    assert brightest == pytest.approx([1, 0.5, 1], abs=0.01)


def test_a_step_of_the_light_is_found_where_it_is(tmp_path):
    assert change_of_regime(load_recording(record_frames(tmp_path, changes_at=18), SHAPE)) == 18


def test_a_steady_recording_has_no_change_of_regime(tmp_path):
    assert change_of_regime(load_recording(record_frames(tmp_path), SHAPE)) is None


def test_a_single_image_has_no_change_of_regime(tmp_path):
    np.save(tmp_path / "one.npy", spot())

    assert change_of_regime(load_recording(tmp_path, SHAPE)) is None


def test_a_frame_is_found_by_the_time_in_its_name(tmp_path):
    recording = load_recording(record_frames(tmp_path), SHAPE)

    assert find_frame(recording, "15:26:17") == 17
    with pytest.raises(ValueError, match="23:59:59"):
        find_frame(recording, "23:59:59")


def test_packed_frames_fill_snapshot_files_of_one_camera(facility, tmp_path):
    folder = record_frames(tmp_path / "frames")
    recorder = Recorder(CAMERA, facility.interval("100ms"))

    packing = shown(folder, facility, recorder, repeat=21)
    files, frames = images(packing, tmp_path)

    assert [packed.path.name for packed in files] == [
        "LA_A2-Camera-1-Camera-1_100ms_snapshot_2023-05-06_15-20-00.h5",
        "LA_A2-Camera-1-Camera-1_100ms_snapshot_2023-05-06_15-21-00.h5",
    ]
    with h5py.File(files[0].path) as file:
        assert len(file) == 600
        assert {record[f"{CAMERA}/STATE"][()] for record in file.values()} == {b"ON"}
    assert frames.shape == (630, *SHAPE)
    assert frames.dtype == np.uint16
    assert 2900 < frames.max() < 3100


def test_a_frame_shown_again_is_another_shot(facility, tmp_path):
    folder = record_frames(tmp_path / "frames", count=1)
    recorder = Recorder(CAMERA, facility.interval("100ms"))

    _, frames = images(shown(folder, facility, recorder, repeat=100), tmp_path)

    assert len(np.unique(frames.reshape(100, -1), axis=0)) == 100
    totals = frames.sum(axis=(1, 2), dtype=float) - 16.0 * frames[0].size
    assert totals.std() / totals.mean() == pytest.approx(0.004, rel=0.4)


def test_one_learns_from_the_frames_before_the_change_and_then_lives_through_it(facility, tmp_path):
    folder = record_frames(tmp_path / "frames", changes_at=18)

    packing = plan_recorded(folder, facility, EXPECTED, START, timedelta(minutes=2))
    files, frames = images(packing, tmp_path)

    assert packing.sequence[:120].max() < 18
    assert packing.sequence[120:].tolist() == list(range(30))
    assert [packed.phase for packed in files] == ["train"] * 6 + ["live"] * 3
    [label] = read_labels(tmp_path)
    assert (label.kind, label.expected) == ("regime_change", AnomalyKind.PROFILE)
    assert label.severity == pytest.approx(0.05, abs=0.01)
    assert label.devices == (CAMERA,)
    assert label.shots == tuple(f"LA-A2-00-1s-20230506T1522{n}.000" for n in range(18, 30))
    assert label.files == ("LA_A2-Camera-1-Camera-1_1s_snapshot_2023-05-06_15-22-00.h5",)
    light = (frames - np.median(frames[:, 0], axis=1)[:, None, None]).sum(axis=(1, 2))
    assert light[138:].mean() / light[:120].mean() == pytest.approx(1.05, abs=0.01)


def test_simulated_companions_have_the_energy_of_the_recorded_frame(facility, tmp_path):
    folder = record_frames(tmp_path / "frames", changes_at=18)

    list(pack(plan_recorded(folder, facility, EXPECTED, START, timedelta(minutes=1)), tmp_path))

    energies = []
    for path in sorted(tmp_path.glob("*EnergyMeter*")):
        with h5py.File(path) as file:
            energies += [record["LA_A2-EM_1-EnergyMeter-1/energy1Corrected"][0] for record in file.values()]
    assert np.mean(energies[78:]) / np.mean(energies[:60]) == pytest.approx(1.05, abs=0.01)


def test_a_recording_of_one_regime_is_learnt_from_its_first_frames(facility, tmp_path):
    folder = record_frames(tmp_path / "frames")

    packing = plan_recorded(folder, facility, EXPECTED, START, timedelta(minutes=1))

    assert packing.sequence[:60].max() < 12  # 40 % of 30
    assert packing.labels == ()


def test_a_stated_change_goes_before_a_found_one(facility, tmp_path):
    folder = record_frames(tmp_path / "frames", changes_at=18)

    packing = plan_recorded(folder, facility, EXPECTED, START, timedelta(minutes=1), change_at="152610")

    assert packing.change == 10
    assert packing.sequence[:60].max() < 10
    assert len(packing.labels[0].shots) == 20


def test_a_change_at_the_first_frame_leaves_nothing_to_learn_from(facility, tmp_path):
    folder = record_frames(tmp_path / "frames")

    with pytest.raises(ValueError, match="learn from"):
        plan_recorded(folder, facility, EXPECTED, START, timedelta(minutes=1), change_at="152600")


def test_packing_again_gives_the_same_bytes(facility, tmp_path):
    folder = record_frames(tmp_path / "frames", count=3)
    for run in ("a", "b"):
        list(pack(plan_recorded(folder, facility, EXPECTED, START, timedelta(minutes=1)), tmp_path / run))

    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.skipif(not BEAMS.exists(), reason="the recorded beams are not beside the repository")
def test_the_recorded_change_of_regime_is_at_15_26_53_and_survives_packing(facility, tmp_path):
    packing = plan_recorded(BEAMS / "regime_change_1hz", facility, EXPECTED, START, timedelta(minutes=2))

    assert packing.change == find_frame(packing.recording, "15:26:53") == 42
    _, frames = images(packing, tmp_path)
    dark = frames[:, :, 90:].mean(axis=(1, 2))
    learnt, before, after = dark[:120], dark[120:162], dark[162:]
    assert np.abs(before - learnt.mean()).max() < 4 * learnt.std()
    assert (after - learnt.mean()).min() > 6 * learnt.std()
    assert frames.max() < 3200


@pytest.mark.skipif(not BEAMS.exists(), reason="the recorded beams are not beside the repository")
@pytest.mark.parametrize("name", ["lab_modes", "injector_laser"])
def test_other_recorded_beams_can_be_packed_too(facility, tmp_path, name):
    recorder = Recorder(CAMERA, facility.interval("1s"))

    _, frames = images(shown(BEAMS / name, facility, recorder), tmp_path)

    assert len(frames) == {"lab_modes": 9, "injector_laser": 1}[name]
    saturated = {"lab_modes": [4, 5], "injector_laser": []}[name]  # k-400mm.png and k-600mm.png reach 255
    assert np.flatnonzero((frames == 4092).any(axis=(1, 2))).tolist() == saturated
    assert (frames.max(axis=(1, 2)) > 500).all()
