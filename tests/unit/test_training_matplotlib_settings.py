"""Matplotlib takes no settings from the folder in which somebody trains or measures a model."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "modules",
    [
        "shotwatch_training.__main__, shotwatch_training.registry",
        "shotwatch_training.datasets.__main__, shotwatch_training.datasets.reading",
        "shotwatch_training.service",
        "shotwatch_benchmark.report",
        "shotwatch_benchmark.learning",
    ],
)
def test_no_file_of_the_current_folder_sets_how_matplotlib_draws(modules: str, tmp_path: Path) -> None:
    """A backend is a Python module, and a preamble of LaTeX reads any file."""
    (tmp_path / "matplotlibrc").write_text("backend: module://evil\ntext.usetex: True\n")
    code = f"import {modules}, matplotlib; print(matplotlib.rcParams['text.usetex'])"
    started = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (started.returncode, started.stdout) == (0, "False\n"), started.stderr
