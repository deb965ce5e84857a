"""No other user can put code into a process that fits a network, through its temporary files."""

import os
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

import pytest

from shotwatch_benchmark.lasers import simulated_laser
from shotwatch_benchmark.protocol import SMALL, run_benchmark
from shotwatch_common.facility_file import load_facility
from shotwatch_training import __main__ as training

pytestmark = pytest.mark.slow

HPLS = Path(__file__).parents[2] / "facilities" / "hpls.yaml"
CONVERTED = """
import sys
from shotwatch_training.temporary_files import private_temporary_files
import tensorflow as tf

def doubled(x):
    while tf.reduce_sum(x) < 10:
        x = x + x
    return x

with private_temporary_files():
    assert float(tf.function(doubled)(tf.constant(3.0))) == 12.0
assert any(module.startswith('__autograph_generated') for module in sys.modules)
"""


def test_no_module_is_imported_from_the_shared_folder_for_temporary_files(tmp_path: Path) -> None:
    """AutoGraph imports what it wrote, with bytecode from `__pycache__` beside it."""
    program, shared = tmp_path / "program.py", tmp_path / "shared"
    program.write_text(CONVERTED)
    shared.mkdir()
    environment = os.environ | {"TMPDIR": str(shared), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-P", str(program)]
    converted = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert converted.returncode == 0, converted.stderr
    assert [*shared.iterdir()] == []


def test_training_writes_temporary_files_to_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set()

    class Output(StringIO):
        def write(self, text: str) -> int:
            folders.add(private_folder())
            return super().write(text)

    monkeypatch.setenv("SHOTWATCH_FACILITY", "none")
    before = tempfile.gettempdir()
    assert training.main([], Output()) == 2
    (folder,) = folders
    assert not folder.exists()
    assert tempfile.gettempdir() == before


def test_the_benchmark_writes_temporary_files_to_a_folder_of_its_own() -> None:
    folders = set()

    def progress(*_: object) -> None:
        folders.add(private_folder())
        raise KeyboardInterrupt

    before, laser = tempfile.gettempdir(), simulated_laser("one", 0)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(laser, laser, load_facility(HPLS), SMALL, 0, progress)
    (folder,) = folders
    assert not folder.exists()
    assert tempfile.gettempdir() == before


def private_folder() -> Path:
    """Return the folder for temporary files, to which no other user has rights."""
    folder = Path(tempfile.gettempdir())
    assert folder.stat().st_mode & 0o7777 == 0o700
    return folder
