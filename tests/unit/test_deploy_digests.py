"""deploy/pin-images, with a Docker that answers as registries would."""

import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_deploy_compose import COMPOSE, ROOT, SERVICES

BASE = "python:3.11-slim-bookworm"
OVERLAY = Path("deploy/k8s/overlays/production")


def digest_of(image: str) -> str:
    return f"sha256:{sha256(image.encode()).hexdigest()}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is deployed, and a `docker` that knows a digest for each image."""
    for name in ("Dockerfile", "docker-compose.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets", "keys"))
    shutil.copytree(ROOT / "facilities", tmp_path / "facilities")
    known = {each["image"] for each in SERVICES.values()} | {BASE}
    known |= {f"registry.example/shotwatch-{name}:1.2" for name in (*SERVICES, "cli", "operations")}
    answers = {image: digest_of(image) for image in known}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        f"answers = {answers!r}\n"
        f"compose = {json.dumps(COMPOSE)!r}\n"
        "if sys.argv[1] == 'compose':\n"
        "    print(compose)\n"
        "elif sys.argv[-1] in answers:\n"
        "    print(answers[sys.argv[-1]])\n"
        "else:\n"
        "    sys.exit('ERROR: ' + sys.argv[-1] + ': not found')\n"
    )
    (tmp_path / "bin" / "docker").chmod(0o755)
    return tmp_path


def pin(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{tree / 'bin'}:{os.environ['PATH']}"}
    command = [sys.executable, tree / "deploy" / "pin-images", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_every_image_of_compose_is_pinned(tree: Path):
    assert pin(tree).returncode == 0
    pinned: dict[str, Any] = yaml.safe_load((tree / "deploy/digests.yml").read_text())["services"]
    assert pinned.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        if "build" in service:
            assert pinned[name] == {"build": {"args": {"PYTHON": f"{BASE}@{digest_of(BASE)}"}}}
        else:
            image = service["image"]
            assert pinned[name] == {"image": f"{image}@{digest_of(image)}"}


def test_every_pod_of_production_runs_the_digest_that_was_pushed(tree: Path):
    assert pin(tree, "registry.example", "1.2").returncode == 0
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", tree / OVERLAY], capture_output=True, text=True, check=True)
    found = re.findall(r"image: (\S+/(shotwatch-\w+)@\S+)", done.stdout)
    assert {name for _, name in found} == {
        each["image"] for each in SERVICES.values() if each["image"].startswith("shotwatch-")
    }
    for image, name in found:
        assert image == f"registry.example/{name}@{digest_of(f'registry.example/{name}:1.2')}"
    assert not re.search(r"image: (?!\S+@sha256:)\S", done.stdout)


def test_an_image_that_no_registry_knows_is_named_and_nothing_is_written(tree: Path):
    done = pin(tree, "registry.example", "9.9")
    assert done.returncode == 1
    assert re.search(r"registry.example/shotwatch-\w+:9.9: not found", done.stderr)
    assert (tree / OVERLAY / "images" / "kustomization.yaml").read_text() == (
        ROOT / OVERLAY / "images" / "kustomization.yaml"
    ).read_text()


def test_the_dockerfile_begins_with_the_image_that_is_pinned():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"ARG PYTHON={BASE}\nFROM $PYTHON AS python\n" in dockerfile
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["$PYTHON", "python", "python"]
