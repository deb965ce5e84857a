"""Files for other tools, fetched by the Python client and the command line from the running API."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from nexusformat.nexus import nxload
from PIL import Image, ImageSequence
from typer.testing import CliRunner

import shotwatch_client
from shotwatch_cli.main import app
from shotwatch_client import InvalidArgument, NoData, NotAccepted, ShotwatchClient

from .query_world import ANOMALOUS, CAMERA, EXPIRED, LB, METER, SHOTS, UNREADABLE, World, recorded, shot
from .test_client import address

PULSE = {"pixel_um": 40, "first_nm": 700, "last_nm": 900}


@pytest.fixture
def client(world: World) -> Iterator[ShotwatchClient]:
    with shotwatch_client.connect(address(world), world.environment["SHOTWATCH_API_KEY"]) as client:
        yield client


def shotwatch(world: World, *arguments: str) -> str:
    """Run a command against the API; return what it reports."""
    environment = {**world.environment, "SHOTWATCH_QUERY_URL": address(world)}
    result = CliRunner().invoke(app, ["export", *arguments], env=environment)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_shot_comes_as_nexus_to_the_client_and_to_the_command_line(
    world: World, client: ShotwatchClient, tmp_path: Path
) -> None:
    fetched = client.exports.nexus(shot(ANOMALOUS), tmp_path / "client.nxs")
    reported = shotwatch(world, "nexus", shot(ANOMALOUS), "--out", str(tmp_path / "command.nxs"))
    assert "bytes in" in reported
    for path in (fetched, tmp_path / "command.nxs"):
        entry = nxload(path)["entry"]
        frame = entry[CAMERA.replace("-", "_")].nxsignal.nxvalue
        np.testing.assert_array_equal(frame, recorded()[CAMERA].arrays["image"][ANOMALOUS])
        energy = recorded()[METER].arrays["energy1"][ANOMALOUS]
        assert entry["instrument/beam/pulse_energy"].nxvalue == pytest.approx(energy)
    some = client.exports.nexus(shot(ANOMALOUS), tmp_path / "some.nxs", [METER])
    assert CAMERA.replace("-", "_") not in nxload(some)["entry"]


def test_a_record_that_is_gone_is_left_out_of_the_file_with_the_reason(
    client: ShotwatchClient, tmp_path: Path
) -> None:
    path = client.exports.nexus(shot(0, LB), tmp_path / "expired.nxs")
    record = nxload(path)["entry/instrument"][EXPIRED.replace("-", "_")]["record"]
    assert "has expired" in record["left_out"].nxvalue
    assert "pulse_energy" not in nxload(path)["entry/instrument/beam"]


def test_frames_come_in_the_format_of_the_suffix(
    world: World, client: ShotwatchClient, tmp_path: Path
) -> None:
    valid = [n for n in range(SHOTS) if n != UNREADABLE]
    expected = recorded()[CAMERA].arrays["image"][valid]
    hdf5 = client.exports.frames(CAMERA, tmp_path / "frames.h5", newest=SHOTS)
    with h5py.File(hdf5) as file:
        np.testing.assert_array_equal(file["frames"], expected)
        assert file["shots"].asstr()[:].tolist() == [shot(n) for n in valid]
    spot = tmp_path / "spot.tiff"
    shotwatch(world, "frames", CAMERA, "--kind", "hot_spot", "--out", str(spot))
    pages = [np.array(page) for page in ImageSequence.Iterator(Image.open(spot))]
    np.testing.assert_array_equal(pages, recorded()[CAMERA].arrays["image"][[ANOMALOUS]])
    with pytest.raises(InvalidArgument, match="suffixes"):
        client.exports.frames(CAMERA, tmp_path / "frames.bmp")


def test_what_the_server_refuses_is_an_error_with_its_reason(client: ShotwatchClient, tmp_path: Path) -> None:
    path = tmp_path / "pulse.h5"
    with pytest.raises(NoData, match="there is no shot nothing"):
        client.exports.lasy("nothing", path, **PULSE)
    with pytest.raises(NotAccepted, match="the facility file has no wavelengths"):
        client.exports.lasy(shot(ANOMALOUS), path, pixel_um=40)
    assert not path.exists()
