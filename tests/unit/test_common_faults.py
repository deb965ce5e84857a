"""Fault points: they do nothing unless a test armed them, inside its own stack."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PASS_THE_POINT = (
    "from shotwatch_common import faults; faults.reach('stage.point'); faults.reach('stage.point')"
)


def exit_code(folder: Path | None, stack: Path | None) -> int:
    """Of a process that reaches the point twice."""
    reported = {"SHOTWATCH_FAULTS": folder, "SHOTWATCH_PROCESS_OF": stack}
    environment = {name: str(path) for name, path in reported.items() if path is not None}
    return subprocess.run([sys.executable, "-c", PASS_THE_POINT], env=environment, check=False).returncode


def test_an_armed_point_kills_the_first_process_that_gets_there_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "stage.point").touch()
    (tmp_path / "stage.other").touch()
    assert exit_code(tmp_path, tmp_path) == -signal.SIGKILL
    assert exit_code(tmp_path, tmp_path) == 0
    assert (tmp_path / "stage.other").exists()


@pytest.mark.parametrize("stack", [None, "elsewhere"])
def test_outside_of_a_stack_under_fault_injection_no_point_is_armed(
    tmp_path: Path, stack: str | None
) -> None:
    (tmp_path / "stage.point").touch()
    assert exit_code(tmp_path, None if stack is None else tmp_path / stack) == 0
    assert exit_code(None, tmp_path) == 0
    assert (tmp_path / "stage.point").exists()
