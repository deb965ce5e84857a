"""Numba takes no settings from the folder in which somebody runs shotwatch."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "module",
    [
        *("shotwatch_physics.moments", "shotwatch_detector.detector", "shotwatch_features.service"),
        *("shotwatch_inference.service", "shotwatch_history.service", "shotwatch_query.service"),
        "shotwatch_training.service",
    ],
)
def test_no_file_of_the_current_folder_sets_the_place_of_numbas_cache(module: str, tmp_path: Path) -> None:
    """The files of a cache are pickles, which run any code."""
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: elsewhere\n")
    code = f"import {module}, numba; numba.core.config.reload_config(); print(numba.config.CACHE_DIR)"
    started = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (started.returncode, started.stdout) == (0, "\n"), started.stderr
