"""`shotwatch distances`, on files and on what the REST API gives."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner, Result

from shotwatch_cli.distances import FrameComparison, heat_map
from shotwatch_cli.failures import Failure, Misuse
from shotwatch_cli.frames import binned, find_camera, stored_frames
from shotwatch_cli.main import app
from shotwatch_common.facility_file import load_facility

FACILITY = load_facility(Path(__file__).resolve().parents[2] / "facilities" / "hpls.yaml")
CAMERA = "LA_A1_11-Camera_1-Camera-1"
ON_THE_MEAN_LINE = 2 / np.pi
"""Of a way over all directions."""


def beam(x: float, peak: float = 3000, dark: float = 20) -> NDArray[np.uint16]:
    rows, columns = np.indices((60, 80))
    light = peak * np.exp(-((columns - x) ** 2 + (rows - 30) ** 2) / (2 * 5**2))
    return np.round(light + dark).astype(np.uint16)


def shotwatch(folder: Path, *arguments: str | Path) -> Result:
    files = ("--out", folder / "out.npy", "--plot", folder / "out.png")
    result = map(str, ("distances", *arguments, *files, "--root", folder))
    return CliRunner().invoke(app, list(result), env={"COLUMNS": "200"})


def compared(folder: Path, *arguments: str | Path) -> Mapping[str, Any]:
    result = shotwatch(folder, *arguments, "--json")
    assert result.exit_code == 0, result.output
    answer: Mapping[str, Any] = json.loads(result.stdout)
    return answer


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Three frames: the beam of the third is 20 px to the right, a little brighter on another dark level."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, frame in {"a": beam(28), "b": beam(30), "c": beam(50, 3500, 90)}.items():
        Image.fromarray(frame).save(folder / f"{name}.png")
    return folder


def test_the_nearest_the_farthest_and_the_anomalous_frame_are_named(frames: Path, tmp_path: Path) -> None:
    answer = compared(tmp_path, frames)
    assert answer["frames"] == ["a.png", "b.png", "c.png"]
    assert answer["nearest"]["frames"] == ["a.png", "b.png"]
    assert answer["nearest"]["distance"] == pytest.approx(2 * ON_THE_MEAN_LINE, rel=0.01)
    assert answer["farthest"]["frames"] == ["a.png", "c.png"]
    assert answer["farthest"]["distance"] == pytest.approx(22 * ON_THE_MEAN_LINE, rel=0.01)
    assert answer["outlier"]["frame"] == "c.png"
    assert answer["outlier"]["mean_distance"] == pytest.approx(21 * ON_THE_MEAN_LINE, rel=0.01)


def test_the_matrix_and_its_picture_are_written(frames: Path, tmp_path: Path) -> None:
    answer = compared(tmp_path, frames)
    matrix = np.load(answer["matrix"])
    assert matrix.shape == (3, 3)
    assert matrix[0, 2] == answer["farthest"]["distance"]
    with Image.open(answer["plot"]) as picture:
        assert picture.format == "PNG"


def test_people_get_a_table(frames: Path, tmp_path: Path) -> None:
    result = shotwatch(tmp_path, frames)
    assert result.exit_code == 0
    for expected in ("3 frames in 64 slices", "nearest", "farthest", "outlier", "2 c.png", "px"):
        assert expected in result.stdout


def test_pages_of_a_stack_and_images_of_any_number_type_are_frames(tmp_path: Path) -> None:
    stack, single = tmp_path / "stack.npy", tmp_path / "single.npy"
    np.save(stack, np.stack([beam(30), beam(34)]))
    np.save(single, beam(34) / 1e5 - 7)
    answer = compared(tmp_path, stack, single)
    assert answer["frames"] == ["stack.npy[0]", "stack.npy[1]", "single.npy"]
    assert answer["nearest"]["frames"] == ["stack.npy[1]", "single.npy"]
    assert answer["nearest"]["distance"] == pytest.approx(0, abs=0.05)


COLOURS = np.array([4, 1, 1]) / 60


@pytest.mark.parametrize(
    ("suffix", "save"),
    [
        (".npy", lambda path, frame: np.save(path, np.rint(frame[..., None] * COLOURS).astype(np.uint8))),
        (".npy", lambda path, frame: np.save(path, frame[..., None])),
        (".npy", lambda path, frame: np.save(path, frame.astype(np.uint32) << 16)),
        (".npy", lambda path, frame: np.save(path, frame.astype(np.float32) - 5000)),
        (".mat", lambda path, frame: savemat(path, {"img": frame.astype(float), "axis": np.arange(5000.0)})),
        (".png", lambda path, frame: Image.fromarray(np.uint8(frame[..., None] * COLOURS)).save(path)),
    ],
)
def test_images_of_every_kind_are_as_far_from_each_other_as_their_beams(
    tmp_path: Path, suffix: str, save: Callable[[Path, NDArray[np.uint16]], object]
) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file, x in zip(files, (30, 42), strict=True):
        save(file, beam(x))
    answer = compared(tmp_path, *files)
    assert len(answer["frames"]) == 2
    assert answer["farthest"]["distance"] == pytest.approx(12 * ON_THE_MEAN_LINE, rel=0.01)


def test_a_stack_of_matlab_is_compared_frame_by_frame(tmp_path: Path) -> None:
    savemat(tmp_path / "stack.mat", {"stack": np.dstack([beam(x) for x in (20, 26, 32, 38, 44)])})
    answer = compared(tmp_path, tmp_path / "stack.mat")
    assert answer["farthest"]["frames"] == ["stack.mat[0]", "stack.mat[4]"]
    assert answer["farthest"]["distance"] == pytest.approx(24 * ON_THE_MEAN_LINE, rel=0.01)


def test_saturated_frames_are_named_however_they_are_binned(frames: Path, tmp_path: Path) -> None:
    clipped = beam(40)
    clipped[30, 40] = 4095
    Image.fromarray(clipped).save(frames / "d.png")
    assert compared(tmp_path, frames, "--bin", "4")["saturated"] == ["d.png"]
    assert "saturated: d.png" in shotwatch(tmp_path, frames).stdout
    assert compared(tmp_path, frames, "--crop", "0,0,20,80", "--bin", "2")["saturated"] == []


def test_a_folder_s_files_without_an_image_are_listed(frames: Path, tmp_path: Path) -> None:
    (frames / "damaged.mat").write_bytes(b"x" * 63)
    (frames / "LICENSE").write_text("")
    answer = compared(tmp_path, frames)
    assert answer["frames"] == ["a.png", "b.png", "c.png"]
    assert answer["skipped"] == 2
    assert [skipped["file"] for skipped in answer["skipped_files"]] == ["LICENSE", "damaged.mat"]
    assert "skipped damaged.mat: it cannot be decoded" in shotwatch(tmp_path, frames).stderr


def test_files_are_listed_also_if_the_others_cannot_be_compared(frames: Path, tmp_path: Path) -> None:
    (frames / "damaged.png").write_bytes(b"x")
    Image.fromarray(beam(30)[:50]).save(frames / "z.png")
    fails(shotwatch(tmp_path, frames), 1, "z.png is of 50 x 80 px")
    assert "skipped damaged.png" in shotwatch(tmp_path, frames).stderr


def test_what_is_neither_a_file_nor_a_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    fails(shotwatch(tmp_path, tmp_path / "pipe.npy"), 1, "no image that can be read: it is not a file")


def test_distances_of_binned_frames_are_in_their_own_pixels(frames: Path, tmp_path: Path) -> None:
    answer = compared(tmp_path, frames, "--bin", "4")
    assert answer["farthest"]["distance"] == pytest.approx(22 / 4 * ON_THE_MEAN_LINE, rel=0.02)


def test_what_lies_outside_the_crop_does_not_count(frames: Path, tmp_path: Path) -> None:
    anomalous = beam(28)
    anomalous[5, 75] = 4000
    Image.fromarray(anomalous).save(frames / "d.png")
    assert compared(tmp_path, frames)["nearest"]["distance"] > 0
    cropped = compared(tmp_path, frames, "--crop", "10,0,50,70")["nearest"]
    assert cropped == {"frames": ["a.png", "d.png"], "distance": 0}


def test_random_slices_are_those_of_their_seed(frames: Path, tmp_path: Path) -> None:
    def farthest(*options: str) -> float:
        distance: float = compared(tmp_path, frames, "--slices", "5", *options)["farthest"]["distance"]
        return distance

    assert farthest("--random", "--seed", "1") == farthest("--random", "--seed", "1")
    assert len({farthest(), farthest("--random", "--seed", "1"), farthest("--random", "--seed", "2")}) == 3


def test_a_frame_without_light_is_named_and_has_no_distance(frames: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((60, 80), 20, np.uint16)).save(frames / "dark.png")
    answer = compared(tmp_path, frames)
    assert answer["without_light"] == ["dark.png"]
    assert answer["outlier"]["frame"] == "c.png"
    assert np.isnan(np.load(answer["matrix"])[3, :3]).all()
    assert "without light: dark.png" in " ".join(
        shotwatch(tmp_path, frames).stdout.split()
    )  # the title is wrapped


def fails(result: Result, exit_code: int, complaint: str) -> None:
    assert result.exit_code == exit_code
    assert complaint in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (np.ones((60, 80)), "fewer than two frames have light"),
        (np.full((60, 80), np.nan), "pixels that are no numbers"),
        (np.ones((9, 9, 9, 9)), "no image that can be read: 9 x 9 x 9 x 9 float64"),
        (np.arange(6.0).reshape(2, 3), "2 x 3 px"),
    ],
)
def test_a_file_that_cannot_be_compared_is_named(
    frames: Path, tmp_path: Path, content: NDArray[np.float64], complaint: str
) -> None:
    anomalous = tmp_path / "anomalous.npy"
    np.save(anomalous, content)
    fails(shotwatch(tmp_path, frames / "a.png", anomalous), 1, complaint)


def test_one_frame_has_no_distance(frames: Path, tmp_path: Path) -> None:
    fails(shotwatch(tmp_path, frames / "a.png"), 1, "a distance needs two")


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    fails(shotwatch(tmp_path, tmp_path), 1, "holds no image")


def test_a_crop_outside_the_frames_leaves_nothing(frames: Path, tmp_path: Path) -> None:
    fails(shotwatch(tmp_path, frames, "--crop", "100,100,5,5"), 1, "leave nothing")


def test_a_file_that_cannot_be_written_is_named(frames: Path, tmp_path: Path) -> None:
    fails(shotwatch(tmp_path / "absent", frames), 1, "cannot write")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "choose the frames"),
        (("--device", CAMERA), "choose the frames"),
        (("--device", CAMERA, "--from", "2022-07-01T08:00", "--to", "2022-07-01T07:00"), "not before"),
        (("--bin", "0"), "--bin"),
        (("--crop", "1,2"), "not four whole numbers"),
    ],
)
def test_a_wish_that_makes_no_sense_is_misuse(
    frames: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    chosen = () if "--device" in arguments or not arguments else (frames,)
    fails(shotwatch(tmp_path, *chosen, *arguments), 2, complaint)


def test_files_and_a_camera_are_not_compared_with_each_other(frames: Path, tmp_path: Path) -> None:
    span = ("--from", "2022-07-01T07:00", "--to", "2022-07-01T08:00")
    fails(shotwatch(tmp_path, frames, "--device", CAMERA, *span), 2, "choose the frames")


class Api:
    """One shot every 10 ms from 1000 to 1100; in that of 1050 the camera's frame is black."""

    def __init__(self) -> None:
        self.places: list[tuple[str, ...]] = []

    async def get(self, path: str, **query: Any) -> Any:
        if path == "/shots":
            self.places.append((query["place"], query["interval"]))
            assert (query["order"], query["limit"]) == ("oldest", 1)
            times = [time for time in range(1000, 1100, 10) if query["from"] <= time < query["to"]]
            return {"shots": [{"id": f"shot-{time}"} for time in times[:1]], "next": None}
        shot, *rest = path.removeprefix("/shots/").split("/", maxsplit=1)
        if rest:
            assert rest == [f"devices/{CAMERA}/image"]
            assert query == {"format": "json"}
            return {"values": [[int(shot[-4:]), 0], [0, 4092]]}
        verdict = "black_frame" if shot == "shot-1050" else "valid"
        return {"members": [{"device": "other", "verdict": "x"}, {"device": CAMERA, "verdict": verdict}]}


async def test_a_camera_s_valid_frames_are_spread_over_the_time() -> None:
    api, done = Api(), []
    expected = find_camera(FACILITY, CAMERA)
    stored = stored_frames(api, expected, CAMERA, (900, 1100), 4, lambda: done.append(1))  # type: ignore[arg-type]
    found = [frame async for frame in stored]
    assert [frame.name for frame in found] == ["shot-1000"]
    assert found[0].image.tolist() == [[1000, 0], [0, 4092]]
    assert found[0].image.dtype == np.uint16
    assert len(done) == 4
    assert set(api.places) == {("LA-A1-11", "100ms")}


async def test_more_frames_are_asked_for_than_there_are_shots() -> None:
    expected = find_camera(FACILITY, CAMERA)
    stored = stored_frames(Api(), expected, CAMERA, (1000, 1100), 50, lambda: None)  # type: ignore[arg-type]
    names = [frame.name async for frame in stored]
    assert names == [f"shot-{time}" for time in range(1000, 1100, 10) if time != 1050]


@pytest.mark.parametrize("device", ["LA_A1_11-Camera_99-Camera-99", "LA_A1_11-EM_1-EnergyMeter-1", "it"])
def test_a_device_that_is_no_camera_of_the_facility_is_misuse(device: str) -> None:
    with pytest.raises(Misuse, match=f"HPLS has no camera {device}"):
        find_camera(FACILITY, device)


def test_binning_takes_means_and_cuts_off_what_is_left_over() -> None:
    light = np.arange(20, dtype=np.float32).reshape(4, 5)
    assert binned(light, 2).tolist() == [[3, 5], [13, 15]]


def test_a_comparison_without_light_is_refused() -> None:
    with pytest.raises(Failure, match="fewer than two"):
        FrameComparison(("a", "b"), np.array([[0, np.nan], [np.nan, 0]]), 8)


@pytest.mark.parametrize("count", [2, 11, 700])
def test_a_heat_map_is_dark_where_frames_are_near_and_grey_where_nothing_is_known(count: int) -> None:
    places = np.arange(count, dtype=float)
    distances = np.abs(places - places[:, None])
    distances[0, 1] = np.nan
    picture = heat_map(distances)
    colours = np.array(picture).reshape(-1, 3)
    for colour in ((0, 0, 4), (252, 255, 164), (153, 153, 153)):
        assert (colours == colour).all(axis=1).any()


def test_frames_that_are_all_the_same_can_be_drawn() -> None:
    assert heat_map(np.zeros((3, 3))).size[0] > 600
