"""The main job, as a newcomer starts it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHOTWATCH = Path(sys.executable).with_name("shotwatch")


@pytest.mark.timeout(600)
def test_the_demo_overlooks_nothing_gross_loses_nothing_and_leaves_nothing_behind() -> None:
    done = subprocess.run(
        [SHOTWATCH, "demo", "--json"], cwd=REPOSITORY, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["balances"]
    assert report["overlooked"] == []
    assert len(report["kinds"]) == 8
    anomalous_normals = {alarm["shot"] for alarm in report["false_alarms"]}
    assert len(anomalous_normals) <= report["normal_shots"] / 1000
    assert processes_of(REPOSITORY / ".shotwatch" / "demo") == []


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that know of a stack's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = path.read_bytes() + (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in content:
            found.append((path.parent / "cmdline").read_text(errors="replace"))
    return found
