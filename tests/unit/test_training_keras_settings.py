"""Keras takes no settings from a folder that somebody else may have made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_no_file_sets_the_precision_in_which_networks_are_fitted(tmp_path: Path) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps({"floatx": "float64"}))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    code = "import shotwatch_training.models.architectures, keras; print(keras.config.floatx())"
    started = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**environment, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (started.returncode, started.stdout) == (0, "float32\n"), started.stderr
