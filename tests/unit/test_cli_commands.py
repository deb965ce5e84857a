"""`shotwatch` as people and programs meet it, without a running system."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from shotwatch_cli.main import app

pytestmark = pytest.mark.slow

FACILITY = Path(__file__).resolve().parents[2] / "facilities" / "hpls.yaml"
COMMANDS = (
    "up",
    "demo",
    "simulate",
    "pack",
    "upload",
    "tail",
    "status",
    "ledger",
    "dataset make",
    "dataset list",
    "dataset show",
    "dataset check",
    "train",
    "distances",
    "events list",
    "events show",
    "events ack",
    "events snooze",
    "events false",
    "events confirm",
    "noise fit",
    "reference fit",
    "doctor",
)


def shotwatch(*arguments: str | Path) -> Result:
    environment = {"SHOTWATCH_FACILITY": str(FACILITY), "COLUMNS": "200"}
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_states_what_it_does_and_gives_examples(command: str) -> None:
    result = shotwatch(*command.split(), "--help")
    assert result.exit_code == 0
    _usage, more = result.stdout.strip().split("\n", maxsplit=1)
    assert f" shotwatch {command}" in more


@pytest.mark.parametrize("command", ["status", "ledger", "tail", "train"])
def test_without_a_running_system_a_command_states_how_to_start_one(command: str, tmp_path: Path) -> None:
    result = shotwatch(command, "--root", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "no stack runs" in result.stderr
    assert "`shotwatch up`" in result.stderr
    assert "Traceback" not in result.output


def test_simulate_writes_files_and_labels_and_reports_them_to_programs(tmp_path: Path) -> None:
    result = shotwatch(
        *("simulate", "--places", "LA-FSD", "--start", "2022-07-01T07:30", "--minutes", "2"),
        *("--inject", "missing_device", "--inject", "energy_drop:0.45", "--out", tmp_path, "--json"),
    )
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)
    assert {label["kind"]: label["severity"] for label in written["labels"]}["energy_drop"] == 0.45
    files = sorted(tmp_path.glob("*.h5"))
    assert len(files) == written["files"] == 2 * 5 - 1
    assert sum(file.stat().st_size for file in files) == written["bytes"]
    assert json.loads((tmp_path / "labels.json").read_text()) == written["labels"]


def test_a_single_shot_file_holds_one_pulse_of_one_device(tmp_path: Path) -> None:
    result = shotwatch(
        *("simulate", "--places", "LA-FSD", "--minutes", "0.05", "--single-shot"),
        *("--out", tmp_path, "--json"),
    )
    assert json.loads(result.stdout)["files"] == 3 * 5


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--places", "LA-A9"), "HPLS has no place LA-A9"),
        (("--places", "LA-A2", "--interval", "100ms"), "HPLS has no place LA-A2 at 100ms"),
        (("--places", "LA-A2", "--inject", "sabotage"), "sabotage is not an anomaly"),
        (("--places", "LA-A2", "--inject", "hot_spot:much"), "hot_spot:much is not an anomaly"),
        (("--places", "LA-A2", "--places", "LA-A3-31", "--single-shot"), "files of one interval"),
        (("--places", "LA-A2", "--start", "noon"), "'noon' is not a time"),
        ((), "Missing option"),
    ],
)
def test_a_wish_that_makes_no_sense_is_misuse(arguments: tuple[str, ...], complaint: str) -> None:
    result = shotwatch("simulate", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""


def test_too_little_room_for_the_anomalies_is_a_failure_that_explains_what_to_do(tmp_path: Path) -> None:
    result = shotwatch(
        *("simulate", "--places", "LA-A2", "--minutes", "0.05", "--inject", "gross", "--out", tmp_path)
    )
    assert result.exit_code == 1
    assert "no room for" in result.stderr
    assert "--minutes" in result.stderr


def test_a_facility_file_that_is_not_there_is_named() -> None:
    result = shotwatch("simulate", "--places", "LA-A2", "--facility", "nowhere.yaml")
    assert result.exit_code == 1
    assert "nowhere.yaml: cannot be read" in result.stderr
    assert "--facility" in result.stderr


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Six frames of a beam; from the fourth on it is another."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rows, columns = np.indices((260, 300))
    for n in range(6):
        distance = np.hypot(rows - 130, columns - 150 - 20 * (n > 2))
        light = np.random.default_rng(n).poisson(200 * np.exp(-((distance / 40) ** 2)))
        Image.fromarray(light.clip(0, 255).astype(np.uint8)).save(folder / f"cam-0730{n:02d}.png")
    return folder


def test_pack_turns_images_into_snapshot_files_and_labels(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    result = shotwatch(
        *("pack", frames, "--place", "LA-A3-31", "--learn", "4", "--change-at", "073003"),
        *("--start", "2022-07-01T07:00", "--out", out, "--json"),
    )
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)
    assert written["files"] == len(list(out.glob("*.h5"))) == 3 * (4 + 6)
    assert [(label["kind"], len(label["shots"])) for label in written["labels"]] == [("regime_change", 3)]
    assert written["skipped"] == 0


def test_pack_lists_the_files_that_it_skips(frames: Path, tmp_path: Path) -> None:
    for n in range(25):
        (frames / f"{n}.png").write_bytes(b"x")
    result = shotwatch(
        "pack", frames, "--place", "LA-A3-31", "--learn", "1", "--out", tmp_path / "out", "--json"
    )
    assert result.exit_code == 0, result.stderr
    written = json.loads(result.stdout)
    assert written["skipped"] == 25
    reason = "it is not a PNG, PGM or TIFF file"
    assert written["skipped_files"] == [{"file": f"{n}.png", "reason": reason} for n in range(20)]
    assert result.stderr.splitlines()[-2:] == [f"skipped 19.png: {reason}", "skipped 5 more files"]


def test_noise_takes_no_images_of_other_values_than_counts(tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.full((12, 102, 128), 20.5))
    result = shotwatch("noise", "fit", "LA_A1_11-Camera_1-Camera-1", "--frames", tmp_path, "--root", tmp_path)
    assert result.exit_code == 1
    assert "dark.npy[0]: noise takes whole counts from 0 to 65,535" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "complaint"),
    [
        (("--crop", "1,2,3"), 2, "not four whole numbers"),
        (("--change-at", "999999"), 1, "no recorded frame is of 999999"),
    ],
)
def test_pack_states_what_is_wrong(
    frames: Path, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, complaint: str
) -> None:
    result = shotwatch("pack", frames, "--place", "LA-A3-31", "--out", tmp_path / "packed", *arguments)
    assert result.exit_code == exit_code
    assert complaint in result.stderr


def test_a_file_to_upload_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    result = shotwatch("upload", tmp_path / "nothing.h5", "--root", tmp_path)
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


@pytest.mark.parametrize("replicas", ["ingest", "ingest=", "ingest=0", "ingest=two", "kitchen=1"])
def test_replicas_are_stated_as_a_service_and_a_number(replicas: str, tmp_path: Path) -> None:
    result = shotwatch("up", "--replicas", replicas, "--root", tmp_path)
    assert result.exit_code == 2
    assert "--replicas" in result.stderr


def test_doctor_checks_the_machine_where_no_system_runs(tmp_path: Path) -> None:
    result = shotwatch("doctor", "--root", tmp_path, "--json")
    found = {finding["subject"]: finding for finding in map(json.loads, result.stdout.splitlines())}
    assert found["python"]["verdict"] == "ok"
    assert {"rabbitmq-server", "disk", "memory"} <= found.keys()
    assert found["system"]["verdict"] == "warn"
    assert "`shotwatch up`" in found["system"]["advice"]
