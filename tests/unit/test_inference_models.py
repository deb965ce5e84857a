"""The watches over the aliases, against a registry that speaks MLflow's REST API."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer

from shotwatch_common.contracts import ModelRef
from shotwatch_common.errors import Retry
from shotwatch_common.registry import ModelRegistry
from shotwatch_common.vocabulary import ModelAlias
from shotwatch_detector.bundle import CAMERAS, MANIFEST, NETWORK, Bundle, Origin, save_bundle
from shotwatch_detector.catalogue import Side
from shotwatch_detector.statistics import Tail, Usual
from shotwatch_inference.models import ModelWatch


class Mirror:
    """An engine that reconstructs everything perfectly."""

    def __init__(self, network: bytes) -> None:
        if network != b"network":
            raise ValueError("no network")

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        return images


@dataclass
class Registry:
    """Bundles by version, and which of them is the champion."""

    folder: Path
    alias: str | None = None
    source: str = "mlflow-artifacts:/1/{version}/artifacts/bundle"
    downloads: list[str] = field(default_factory=list)

    def add(self, version: str, network: bytes = b"network") -> None:
        folder = self.folder / version
        folder.mkdir()
        usual = {"EM-1": {"energy": Usual(2.0, 0.02, Tail(2.6, 1.5), Tail(1.0, 1.5), Side.BOTH)}}
        save_bundle(Bundle(Origin("HPLS", "strided", version, 0, 1, 2), network, {}, usual), folder)

    async def model(self, request: web.Request) -> web.Response:
        assert dict(request.query) == {"name": "shotwatch"}
        if not list(self.folder.iterdir()):
            return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)
        aliases = {"aliases": [{"alias": "champion", "version": self.alias}]} if self.alias else {}
        return web.json_response({"registered_model": {"name": "shotwatch", **aliases}})

    async def version(self, request: web.Request) -> web.Response:
        number = request.query["version"]
        source = self.source.format(version=number)
        version = {"name": "shotwatch", "version": number, "run_id": f"run-{number}", "source": source}
        return web.json_response({"model_version": version})

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        path = self.folder / request.match_info["version"] / request.match_info["file"]
        self.downloads.append(path.name)
        if not path.exists():
            raise web.HTTPNotFound
        return web.FileResponse(path)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[tuple[Registry, TestServer]]:
    registry = Registry(tmp_path)
    application = web.Application()
    application.router.add_get("/api/2.0/mlflow/registered-models/get", registry.model)
    application.router.add_get("/api/2.0/mlflow/model-versions/get", registry.version)
    application.router.add_get(
        "/api/2.0/mlflow-artifacts/artifacts/1/{version}/artifacts/bundle/{file}", registry.artifact
    )
    async with TestServer(application) as server:
        yield registry, server


@pytest.fixture
async def watch(
    registry: tuple[Registry, TestServer], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ModelWatch]:
    monkeypatch.setattr("shotwatch_detector.detector.LiteRtEngine", Mirror)
    log: Any = structlog.get_logger()
    async with ModelRegistry(str(registry[1].make_url("/")), "shotwatch") as client:
        yield ModelWatch(client, ModelAlias.CHAMPION, log)


def energy_anomalies(watch: ModelWatch) -> int:
    assert watch.current is not None
    features = {"EM-1": {"energy": np.array([2.0, 1.0])}}
    return len(watch.current.detector.judge("here", features, 2).findings)


async def test_before_any_model_has_the_alias_there_is_no_champion(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    await watch.look()
    assert watch.current is None


async def test_the_version_with_the_alias_is_ready_to_judge(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("3")
    registry[0].alias = "3"
    await watch.look()
    assert watch.current is not None
    assert watch.current.ref == ModelRef(name="shotwatch", version="3", run_id="run-3")
    assert energy_anomalies(watch) == 1


async def test_a_version_is_fetched_once_and_without_what_only_training_needs(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("3")
    registry[0].alias = "3"
    for _ in range(3):
        await watch.look()
    assert sorted(registry[0].downloads) == sorted([MANIFEST, NETWORK, CAMERAS])


async def test_when_the_alias_moves_the_champion_changes_and_the_old_one_still_works(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    for version in ("1", "2"):
        registry[0].add(version)
    registry[0].alias = "1"
    await watch.look()
    first = watch.current
    registry[0].alias = "2"
    await watch.look()
    assert watch.current is not None
    assert first is not None
    assert (first.ref.version, watch.current.ref.version) == ("1", "2")
    assert first.detector.judge("here", {}, 2).score.tolist() == [0, 0]


async def test_a_watch_has_no_model_once_the_alias_is_taken_away(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].alias = "1"
    await watch.look()
    registry[0].alias = None
    await watch.look()
    assert watch.current is None


@pytest.mark.parametrize("fault", ["damaged", "gone", "elsewhere"])
async def test_a_version_that_cannot_be_loaded_leaves_the_champion_in_place(
    fault: str, registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].alias = "1"
    await watch.look()
    registry[0].alias = "2"
    if fault == "damaged":
        registry[0].add("2", network=b"garbage")
    if fault == "elsewhere":
        registry[0].source = "s3://models/{version}"
    await watch.look()
    assert watch.current is not None
    assert watch.current.ref.version == "1"
    fetched = len(registry[0].downloads)
    await watch.look()
    assert len(registry[0].downloads) == fetched


async def test_a_registry_that_is_away_is_worth_another_try(
    registry: tuple[Registry, TestServer], watch: ModelWatch
) -> None:
    registry[0].add("1")
    registry[0].alias = "1"
    await watch.look()
    await registry[1].close()
    with pytest.raises(Retry):
        await watch.look()
    assert energy_anomalies(watch) == 1


def test_scoring_imports_nothing_that_only_training_needs() -> None:
    loaded = subprocess.run(  # in a fresh interpreter: other tests import TensorFlow
        [sys.executable, "-c", "import sys, shotwatch_inference.service; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"tensorflow", "keras", "mlflow"} & set(loaded)
