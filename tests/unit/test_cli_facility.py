"""The facility file that nobody named: the one in the current folder, unless that is another user's."""

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from shotwatch_cli.main import app
from shotwatch_cli.options import FACILITY, trusted_facility

STRANGER = 65534


@pytest.fixture
def facility(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default facility file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    FACILITY.parent.mkdir()
    FACILITY.write_text("name: hostile\n")
    return FACILITY


def test_a_file_of_ours_and_one_that_is_missing_are_taken(facility: Path) -> None:
    assert trusted_facility(facility) == facility
    facility.unlink()
    assert trusted_facility(facility) == facility


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
@pytest.mark.parametrize("whose", [FACILITY, FACILITY.parent])
def test_a_file_of_another_user_is_refused_unless_it_is_named(facility: Path, whose: Path) -> None:
    os.chown(whose, STRANGER, STRANGER)
    with pytest.raises(typer.BadParameter, match=r"hpls\.yaml belongs to another user"):
        trusted_facility(facility)
    assert trusted_facility(facility.absolute()) == facility.absolute()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
def test_a_link_of_another_user_to_a_file_of_ours_is_refused(facility: Path, tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("name: ours\n")
    facility.unlink()
    facility.symlink_to(tmp_path / "ours.yaml")
    os.lchown(facility, STRANGER, STRANGER)
    with pytest.raises(typer.BadParameter, match="belongs to another user"):
        trusted_facility(facility)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user takes root")
@pytest.mark.parametrize("command", ["up", "simulate --places LA-A1-11", "pack . --place LA-A2", "benchmark"])
def test_every_command_with_a_facility_file_refuses_it(facility: Path, command: str) -> None:
    os.chown(facility, STRANGER, STRANGER)
    result = CliRunner().invoke(app, command.split(), env={"COLUMNS": "400", "SHOTWATCH_FACILITY": None})
    assert result.exit_code == 2
    assert "belongs to another user" in result.output
