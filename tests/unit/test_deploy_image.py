"""The steps of the Dockerfile, run without an engine in a clean environment."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as the image of `validate` holds it."""
    return install("validate", tmp_path_factory)


def install(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install what the image of this name holds, and return the folder of its virtual environment."""
    folder = tmp_path_factory.mktemp("image") / "shotwatch"
    with_uv = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([ROOT / "deploy" / "install", name, folder], env=with_uv, check=True)
    return folder


def test_an_image_holds_its_service_and_what_that_needs_in_the_locked_versions(installed: Path):
    uv = Path(sys.executable).with_name("uv")
    listing = subprocess.run(
        [uv, "pip", "list", "--format", "json", "--python", installed / "bin" / "python"],
        capture_output=True,
        check=True,
    )
    packages = {each["name"]: each["version"] for each in json.loads(listing.stdout)}
    ours = {name for name in packages if name.startswith("shotwatch")}
    assert ours == {"shotwatch-common", "shotwatch-shots", "shotwatch-tables", "shotwatch-validate"}
    assert all(LOCKED[name] == version for name, version in packages.items() if name not in ours)


def test_the_service_starts_from_the_image_and_states_which_settings_it_lacks(installed: Path):
    bare = {"PATH": f"{installed / 'bin'}:/usr/bin:/bin", "SHOTWATCH_SERVICE": "validate"}
    done = subprocess.run([ROOT / "deploy" / "serve"], env=bare, capture_output=True, text=True)
    assert done.returncode == 1
    line = json.loads(done.stderr)
    assert (line["service"], line["event"]) == ("validate", "cannot go on")
    assert "SHOTWATCH_BROKER_URL: Field required" in line["why"]


def test_the_image_of_operations_can_set_the_store_up(tmp_path_factory: pytest.TempPathFactory):
    command = [install("operations", tmp_path_factory) / "bin" / "python", "-m", "shotwatch_operations.store"]
    done = subprocess.run(command, env={}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "SHOTWATCH_STORE_URL: Field required" in done.stderr


def test_what_the_image_copies_exists_and_is_not_kept_from_the_builder():
    sources = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(sources) == sorted(let_in)
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_runs_as_nobody_in_particular():
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


@pytest.mark.parametrize("file", ["Dockerfile", "scripts/setup"])
def test_only_uv_is_cut_out_of_the_lock(file: str):
    cut = re.search(r"sed -n '[^']+' requirements.lock", (ROOT / file).read_text())
    assert cut is not None
    done = subprocess.run(["bash", "-c", cut[0]], cwd=ROOT, capture_output=True, text=True, check=True)
    first, *hashes = done.stdout.splitlines()
    assert first == f"uv=={LOCKED['uv']} \\"
    assert hashes
    assert all(re.match(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes)
