"""query as a whole, on servers in memory: files for other tools, read by these tools."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import httpx
import numpy as np
import polars
import pytest
from lasy.profiles import FromOpenPMDProfile
from lasy.utils.laser_utils import compute_laser_energy, create_grid
from nexusformat.nexus import nxload
from nexusformat.nexus.validate import logger as nexus_logger
from nexusformat.nexus.validate import validate_file
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from shotwatch_common.blocks import read_block
from shotwatch_physics.spectrum import fourier_limits
from shotwatch_query.exports import gathering, process
from shotwatch_query.limits import memory
from shotwatch_query.routes import frames as frames_routes
from tests.support.world import World

from .conftest import FLAWED, SHOTS, after
from .plays import inference, query

PIXEL_UM, FIRST_NM, LAST_NM = 40.0, 700.0, 900.0
PULSE = {"pixel_um": PIXEL_UM, "first_nm": FIRST_NM, "last_nm": LAST_NM}


@pytest.fixture(scope="module")
async def judged(measured: World) -> World:
    """The shots are judged, and can be searched."""
    return await after(measured, inference)


async def ask(world: World, path: str, **asked: Any) -> httpx.Response:
    async with query(world, query_open=True) as client:
        return await client.get(f"/api/v1/{path}", params=asked, timeout=120)


def stored(world: World, kind: str, shot: int) -> tuple[str, dict[str, Any]]:
    """The first device of a kind, and the arrays of a shot in its block."""
    blocks = [
        read_block(each.data)
        for key, each in sorted(world.store.buckets["blocks"].items())
        if key.endswith(".arrow")
    ]
    block = next(each for each in sorted(blocks, key=lambda block: block.device) if kind in each.device)
    return block.device, {name: array[shot] for name, array in block.arrays.items()}


def energy_of(arrays: dict[str, Any]) -> float:
    """The energy by the report's rule: the mean of the two if both are positive, else the one that is."""
    positive = [float(value) for value in arrays.values() if value > 0]
    return sum(positive) / len(positive)


@pytest.fixture(scope="module")
async def nexus(judged: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shot as a NeXus file."""
    answer = await ask(judged.fork(), f"shots/{SHOTS[0]}/nexus")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-hdf5")
    path = tmp_path_factory.mktemp("nexus") / "shot.nxs"
    path.write_bytes(answer.content)
    return path


def test_a_nexus_file_has_what_the_devices_recorded_with_units(judged: World, nexus: Path) -> None:
    entry = nxload(nexus)["entry"]
    camera, image = stored(judged, "Camera", 0)
    spectro, spectrum = stored(judged, "Spectro", 0)
    meter, energies = stored(judged, "EM_1", 0)
    frame = entry[camera.replace("-", "_")]
    assert frame.nxclass == "NXdata"
    np.testing.assert_array_equal(frame.nxsignal.nxvalue, image["image"])
    assert [axis.nxname for axis in frame.nxaxes] == ["y", "x"]
    assert frame.nxsignal.units == "counts"
    np.testing.assert_array_equal(entry[spectro.replace("-", "_")].nxsignal.nxvalue, spectrum["spectrum"])
    beam = entry["instrument/beam"]
    assert beam.nxclass == "NXbeam"
    assert (beam["pulse_energy"].units, entry["origin/energy_meter"].nxvalue) == ("J", meter)
    assert beam["pulse_energy"].nxvalue == pytest.approx(energy_of(energies), rel=1e-12)
    assert entry["entry_identifier"].nxvalue == SHOTS[0]


def test_nexusformat_finds_no_fault_in_a_nexus_file(nexus: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=nexus_logger.name):
        validate_file(str(nexus))
    lines = [record.getMessage().strip() for record in caplog.records]
    assert {line for line in lines if line.startswith("Total")} == {
        "Total number of warnings: 0",
        "Total number of errors: 0",
    }


async def test_lasy_reads_the_pulse_with_the_energy_the_size_and_the_duration(
    judged: World, tmp_path: Path
) -> None:
    answer = await ask(judged.fork(), f"shots/{SHOTS[0]}/lasy", **PULSE)
    assert answer.status_code == 200, answer.text
    path = tmp_path / "laser.h5"
    path.write_bytes(answer.content)
    pulse = FromOpenPMDProfile(str(path), "laserEnvelope")
    grid = create_grid(pulse.array, pulse.axes, "xyt")
    _, energies = stored(judged, "EM_1", 0)
    assert compute_laser_energy("xyt", grid) == pytest.approx(energy_of(energies), rel=1e-6)
    camera, image = stored(judged, "Camera", 0)
    _, width = image["image"].shape
    assert np.ptp(pulse.axes["x"]) == pytest.approx((width - 1) * PIXEL_UM * 1e-6)
    fluence = (np.abs(pulse.array) ** 2).sum(axis=2).T
    assert np.corrcoef(fluence.ravel(), image["image"].ravel())[0, 1] > 0.99
    power = (np.abs(pulse.array) ** 2).sum(axis=(0, 1))
    lit = pulse.axes["t"][power >= power.max() / 2]
    _, spectrum = stored(judged, "Spectro", 0)
    wavelengths = np.linspace(FIRST_NM, LAST_NM, len(spectrum["spectrum"]))
    [limit] = fourier_limits(spectrum["spectrum"][None], wavelengths)
    assert np.ptp(lit) * 1e15 == pytest.approx(limit, rel=0.15)
    assert FIRST_NM < pulse.lambda0 * 1e9 < LAST_NM
    with h5py.File(path) as file:
        assert "No phase was measured" in file.attrs["comment"]
        assert camera in file.attrs["comment"]


@pytest.fixture(scope="module")
def frames(judged: World) -> tuple[str, NDArray[np.uint16]]:
    """The camera whose second frame is black, and its frames of the other two shots."""
    for n in (1, 2, 3):
        camera, _ = stored(judged, f"Camera_{n}", 0)
        images = np.stack([stored(judged, f"Camera_{n}", shot)[1]["image"] for shot in range(3)])
        if images[1].max() < images[0].max() / 10:
            return camera, images[[0, 2]]
    raise AssertionError("no frame is black")


async def test_frames_of_a_selection_come_as_tiff_csv_and_hdf5(
    judged: World, frames: tuple[str, NDArray[np.uint16]], tmp_path: Path
) -> None:
    camera, expected = frames
    answers = {
        form: await ask(judged.fork(), f"devices/{camera}/frames", format=form)
        for form in ("tiff", "csv", "hdf5")
    }
    assert {answer.headers["x-frames"] for answer in answers.values()} == {"2"}
    tiff = Image.open(io.BytesIO(answers["tiff"].content))
    pages = [(np.array(page), json.loads(page.tag_v2[270])) for page in ImageSequence.Iterator(tiff)]
    np.testing.assert_array_equal([pixels for pixels, _ in pages], expected)
    assert [description["shot"] for _, description in pages] == [SHOTS[0], SHOTS[2]]
    lines = polars.read_csv(answers["csv"].content)
    np.testing.assert_array_equal(lines.drop("shot", "y").to_numpy(), np.concatenate(expected))
    assert lines["shot"].unique(maintain_order=True).to_list() == [SHOTS[0], SHOTS[2]]
    with h5py.File(io.BytesIO(answers["hdf5"].content)) as file:
        np.testing.assert_array_equal(file["frames"], expected)
        assert file["frames"].attrs["units"] == "counts"
        assert file["shots"].asstr()[:].tolist() == [SHOTS[0], SHOTS[2]]
        assert [f"{time}" for time in file["times"][:].astype("<M8[ms]")] == [
            "2025-10-09T08:00:00.000",
            "2025-10-09T08:00:02.000",
        ]


async def test_a_selection_of_frames_is_bounded_in_time_number_and_bytes(
    judged: World, frames: tuple[str, NDArray[np.uint16]], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, _ = frames
    path = f"devices/{camera}/frames"
    late = await ask(judged.fork(), path, **{"from": "2025-10-09T08:00:01Z", "to": "2025-10-09T08:00:03Z"})
    assert np.load(io.BytesIO(late.content))["shots"].tolist() == [SHOTS[2]]
    none = await ask(judged.fork(), path, kind="hot_spot")
    many = await ask(judged.fork(), path, shots=1001)
    monkeypatch.setattr(frames_routes, "SHARE_BYTES", 10 * 4 * 102 * 128 * 2)
    large = await ask(judged.fork(), path, shots=11)
    assert (none.status_code, many.status_code, large.status_code) == (404, 422, 422)
    assert "ask for at most 10 at a time" in large.json()["detail"]


@pytest.mark.parametrize(
    ("path", "asked", "status", "reason"),
    [
        ("shots/nothing/nexus", {}, 404, "there is no shot nothing"),
        (f"shots/{SHOTS[0]}/nexus", {"device": "nothing"}, 404, "no device nothing belongs to shot"),
        (f"shots/{SHOTS[0]}/lasy", {"pixel_um": 40}, 422, "the facility file has no wavelengths"),
        (f"shots/{SHOTS[0]}/lasy", {**PULSE, "last_nm": FIRST_NM}, 422, "at least 1 nm"),
        (f"shots/{SHOTS[0]}/lasy", {**PULSE, "camera": "nothing"}, 404, "no valid record of nothing"),
        (f"shots/{SHOTS[0]}/lasy", {**PULSE, "pixel_um": 0}, 422, "not valid"),
        (
            f"shots/{FLAWED}/lasy",
            {**PULSE, "meter": "LA_FSD-Camera_1-Camera-1"},
            404,
            "no valid record of LA",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_cannot_be_exported_is_refused_with_the_reason(
    judged: World, path: str, asked: dict[str, Any], status: int, reason: str
) -> None:
    answer = await ask(judged.fork(), path, **asked)
    assert (answer.status_code, reason in answer.json()["detail"]) == (status, True), answer.text


async def test_a_pulse_without_light_is_refused_with_the_reason(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that writes the file finds it, and reports it."""
    monkeypatch.setattr(gathering, "light_of", lambda image: np.zeros(image.shape, np.float32))
    answer = await ask(judged.fork(), f"shots/{SHOTS[0]}/lasy", **PULSE)
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("Camera-1 has no light above its background")


async def test_a_package_that_is_not_installed_is_named_with_what_to_install(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "find_spec", lambda name: None if name == "lasy" else name)
    answer = await ask(judged.fork(), f"shots/{SHOTS[0]}/lasy", **PULSE)
    assert answer.status_code == 501
    assert "lacks lasy: install shotwatch-query[exports]" in answer.json()["detail"]


async def test_a_file_that_takes_too_long_or_too_much_memory_is_refused(
    judged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "WALL_S", 0.0)
    late = await ask(judged.fork(), f"shots/{SHOTS[0]}/nexus")
    monkeypatch.setattr(memory, "SHARE_BYTES", 0)
    monkeypatch.setattr(memory, "MOST_WAITING_OF_CALLER", 0)
    large = await ask(judged.fork(), f"shots/{SHOTS[0]}/nexus")
    assert (late.status_code, large.status_code) == (503, 429)


def test_the_api_does_not_load_the_libraries_that_write_files() -> None:
    """In a process of its own: the tests themselves load them."""
    code = "import sys, shotwatch_query.service; print({'h5py', 'lasy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


async def test_no_module_of_the_current_folder_is_imported(
    judged: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("numpy", "h5py", "pydantic"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    answer = await ask(judged, f"shots/{SHOTS[0]}/nexus")
    assert (answer.status_code, answer.content[:4]) == (200, b"\x89HDF")
