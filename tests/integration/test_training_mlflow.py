"""A training run on a real MLflow server, what inference makes of it, and what intruders cannot do."""

import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import structlog
from mlflow import MlflowClient
from pydantic import SecretStr

from shotwatch_common.registry import ModelRegistry
from shotwatch_detector.bundle import KERAS_MODEL, load_bundle, read_baselines
from shotwatch_embedded.servers.models import models
from shotwatch_inference.models import ModelWatch
from shotwatch_shots.errors import Retry
from shotwatch_shots.vocabulary import ModelAlias
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.domain.split import TooLittleData
from shotwatch_training.registry import Registry
from shotwatch_training.service import Trained, train
from shotwatch_training.settings import ArchitectureName, Recipe
from tests.ports import PORTS
from tests.support.registry_contract import RegistryContract
from tests.unit.promoted import Promoted

from .processes import serving

CAMERA, METER = "LA_A1_11-Camera_1-Camera-1", "LA_A1_11-EM_1-EnergyMeter-1"
SHOTS = 400
ENGINEER, READER = ("engineer", "of the engineer"), ("reader", "of the reader")
PASSWORDS = ENGINEER[1], READER[1]
rows, columns = np.indices((40, 48))
_numbers = count()


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
async def mlflow_url(mlflow_folder: Path) -> AsyncIterator[str]:
    """Its address; MLflow's client logs in as the engineer."""
    server = models(mlflow_folder, *PASSWORDS, PORTS)
    async with serving(server):
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("MLFLOW_TRACKING_USERNAME", ENGINEER[0])
            environment.setenv("MLFLOW_TRACKING_PASSWORD", ENGINEER[1])
            yield server.settings["SHOTWATCH_MODELS_URL"]


def watching(registry: ModelRegistry, promoted: Any) -> ModelWatch:
    log: Any = structlog.get_logger()
    return ModelWatch(registry, promoted, ModelAlias.CHAMPION, log)


def beams(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, y = rng.normal([[24], [20]], 0.2, (2, count))[..., np.newaxis, np.newaxis]
    light = 2500 * np.exp(-(((columns - x) / 9) ** 2) - ((rows - y) / 7) ** 2)
    return np.rint(light + 40 + rng.normal(0, 15, light.shape)).clip(0, 4092).astype(np.uint16)


def history() -> History:
    times = 1_656_660_780_000 + 100 * np.arange(SHOTS, dtype=np.int64)
    energy = 2 + 0.014 * np.random.default_rng(1).normal(size=SHOTS)
    place = PlaceHistory("LA-A1-11", times, {METER: {"energy": energy}})
    return History((place,), (CameraHistory(CAMERA, times, beams(SHOTS, 2)),))


def train_once(url: str, name: str, steps: list[dict[str, Any]] | None = None, **recipe: Any) -> Trained:
    def progress(step: str, **figures: object) -> None:
        if steps is not None:
            steps.append({"step": step, **figures})

    chosen = Recipe(epochs=2, **recipe)
    trained = train(history(), "HPLS", chosen, Registry(url, name), progress)
    MlflowClient(url, url).set_registered_model_alias(name, "champion", trained.version)
    return trained


@pytest.fixture
def model() -> str:
    """The name of a model of its own."""
    return f"contract-{next(_numbers)}"


@pytest.fixture
def training(mlflow_url: str, model: str) -> Registry:
    return Registry(mlflow_url, model)


@pytest.fixture
async def registry(mlflow_url: str, model: str) -> AsyncIterator[ModelRegistry]:
    async with ModelRegistry(mlflow_url, model, *ENGINEER) as registry:
        yield registry


class TestRegistry(RegistryContract):
    """The model registry obeys the contract that the double in tests/support obeys."""


@pytest.mark.parametrize("architecture", ArchitectureName)
def test_a_run_is_logged_whole_and_its_model_is_registered_with_its_figures(
    architecture: ArchitectureName, mlflow_url: str, tmp_path: Path
) -> None:
    steps: list[dict[str, Any]] = []
    trained = train_once(mlflow_url, f"logged-{architecture}", steps, architecture=architecture)
    client = MlflowClient(mlflow_url, mlflow_url)
    run = client.get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["architecture"] == architecture
    assert [point.step for point in client.get_metric_history(trained.run_id, "val_loss")] == [1, 2]
    assert {file.path for file in client.list_artifacts(trained.run_id)} == {
        "bundle",
        "curves.png",
        "reconstructions.png",
    }
    version = client.get_model_version(f"logged-{architecture}", trained.version)
    assert version.run_id == trained.run_id
    assert {"cameras": "1", "devices": "2", "architecture": architecture}.items() <= version.tags.items()
    folder = Path(client.download_artifacts(trained.run_id, "bundle", str(tmp_path)))
    assert load_bundle(folder).origin.architecture == architecture
    assert (folder / KERAS_MODEL).stat().st_size > 0
    assert [step["step"] for step in steps] == [
        *("fitting", "epoch", "epoch", "fitted", "calibrating", "registering")
    ]
    assert json.dumps(steps)


def test_training_logs_in_as_its_settings_state(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "of somebody else")
    settings: Any = SimpleNamespace(
        models_url=mlflow_url,
        model_name="logged-in",
        models_user=ENGINEER[0],
        models_password=SecretStr(ENGINEER[1]),
    )
    with Registry.of(settings).run() as run:
        run.params({"epochs": 1})
    assert MlflowClient(mlflow_url, mlflow_url).get_run(run.id).data.params == {"epochs": "1"}


def test_of_several_networks_the_one_that_shows_spots_best_is_registered(mlflow_url: str) -> None:
    steps: list[dict[str, Any]] = []
    trained = train_once(mlflow_url, "searched", steps, trials=3)
    client = MlflowClient(mlflow_url, mlflow_url)
    chosen = client.get_run(trained.run_id)
    below = f"tags.`mlflow.parentRunId` = '{trained.run_id}'"
    trials = client.search_runs([chosen.info.experiment_id], below)
    contrasts = [trial.data.metrics["spot_contrast"] for trial in trials]
    assert len(contrasts) == 3
    assert chosen.data.metrics["spot_contrast"] == max(contrasts)
    best = next(trial for trial in trials if trial.data.metrics["spot_contrast"] == max(contrasts))
    searched = ("learning_rate", "filters", "code", "spots")
    assert [chosen.data.params[name] for name in searched] == [best.data.params[name] for name in searched]


async def test_figures_of_the_benchmark_are_logged_with_the_run_that_made_the_model(mlflow_url: str) -> None:
    trained = train_once(mlflow_url, "measured")
    async with ModelRegistry(mlflow_url, "measured", *ENGINEER) as registry:
        version = await registry.find(trained.version)
        assert version is not None
        await registry.log(version, {"benchmark/alarms": 1, "benchmark/hot_spot/0.05": 0.97})
    metrics = MlflowClient(mlflow_url, mlflow_url).get_run(trained.run_id).data.metrics
    assert {"benchmark/alarms": 1, "benchmark/hot_spot/0.05": 0.97}.items() <= metrics.items()


async def test_inference_takes_up_each_new_champion_and_judges_with_it(mlflow_url: str) -> None:
    promoted = Promoted()
    async with ModelRegistry(mlflow_url, "watched", *READER) as registry:
        watch = watching(registry, promoted)
        await watch.poll()
        assert watch.current is None
        for version in ("1", "2"):
            trained = train_once(mlflow_url, "watched")
            assert trained.version == version
            await promoted.promote(trained.version, trained.run_id, trained.digest)
            await watch.poll()
            assert watch.current is not None
            assert watch.current.ref.version == version
    frames = beams(20, 3)
    frames[7, 18:21, 30:33] += 1200
    detector = watch.current.detector
    features = {CAMERA: detector.score(CAMERA, frames), METER: {"energy": np.full(20, 2.0)}}
    features[METER]["energy"][4] *= 0.7
    findings = detector.judge("LA A1 11", features, 20).findings
    assert [(finding.shot, str(finding.kind)) for finding in findings] == [(4, "energy"), (7, "hot_spot")]


async def test_a_first_champion_without_a_bundle_is_reported_and_leaves_the_rules(mlflow_url: str) -> None:
    client = MlflowClient(mlflow_url, mlflow_url)
    run = client.create_run("0").info
    client.create_registered_model("broken")
    client.create_model_version("broken", f"{run.artifact_uri}/missing", run.run_id)
    client.set_registered_model_alias("broken", "champion", "1")
    promoted = Promoted()
    await promoted.promote("1", run.run_id, "0" * 64)
    async with ModelRegistry(mlflow_url, "broken", *READER) as registry:
        watch = watching(registry, promoted)
        await watch.poll()
    assert watch.report("here").problem == (
        f"champion: version 1 cannot be loaded: bundle.json does not exist in {run.artifact_uri}/missing; "
        "judging with rules only"
    )


def test_without_enough_shots_nothing_is_registered(mlflow_url: str) -> None:
    few = History((), (CameraHistory(CAMERA, np.arange(10, dtype=np.int64), beams(10, 2)),))
    with pytest.raises(TooLittleData):
        train(few, "HPLS", Recipe(), Registry(mlflow_url, "few"), lambda *_, **__: None)
    assert not MlflowClient(mlflow_url, mlflow_url).search_registered_models("name = 'few'")


def test_a_run_that_fails_leaves_the_champion_as_it_was(
    mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_once(mlflow_url, "failing")
    monkeypatch.setattr("shotwatch_training.service.make_bundle", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_once(mlflow_url, "failing")
    client = MlflowClient(mlflow_url, mlflow_url)
    assert client.get_model_version_by_alias("failing", "champion").version == first.version
    experiment = client.get_experiment_by_name("failing")
    assert experiment is not None
    states = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    assert sorted(states) == ["FAILED", "FINISHED"]


CHANGES = (
    ("POST", "/api/2.0/mlflow/registered-models/alias", {"alias": "champion", "version": "1"}),
    ("DELETE", "/api/2.0/mlflow/registered-models/alias", {"alias": "champion"}),
    ("POST", "/ajax-api/2.0/mlflow/registered-models/alias", {"alias": "champion", "version": "1"}),
    ("POST", "/api/2.0/mlflow/model-versions/create", {"source": "mlflow-artifacts:/1"}),
    ("DELETE", "/api/2.0/mlflow/model-versions/delete", {"version": "1"}),
    ("POST", "/api/2.0/mlflow/model-versions/set-tag", {"version": "1", "key": "k", "value": "v"}),
    ("DELETE", "/api/2.0/mlflow/registered-models/delete", {}),
    ("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0"}),
    ("POST", "/graphql", {"query": "{ __typename }"}),
)


@pytest.mark.parametrize(("login", "status"), [(None, 401), (("engineer", "guessed"), 401), (READER, 403)])
async def test_neither_strangers_nor_services_change_a_model(
    login: tuple[str, str] | None, status: int, mlflow_url: str, guarded: Trained
) -> None:
    artifact = f"/api/2.0/mlflow-artifacts/artifacts/{await artifact_of(mlflow_url, guarded)}"
    before = await state_of(mlflow_url)
    async with httpx.AsyncClient(base_url=mlflow_url, auth=login) as intruder:
        for method, path, change in CHANGES:
            answer = await intruder.request(method, path, json={"name": "guarded", **change})
            assert (path, answer.status_code) == (path, status)
        for method in ("PUT", "DELETE"):
            assert (await intruder.request(method, artifact, content=b"mine")).status_code == status
        read = await intruder.get(artifact)
        assert read.status_code == (200 if login == READER else 401)
    assert await state_of(mlflow_url) == before


@pytest.fixture(scope="module")
def guarded(mlflow_url: str) -> Trained:
    return train_once(mlflow_url, "guarded")


async def artifact_of(url: str, trained: Trained) -> str:
    """The path of the bundle's manifest below the server's artifacts."""
    async with ModelRegistry(url, "guarded", *READER) as registry:
        found = await registry.find(trained.version)
    assert found is not None
    return found.source.removeprefix("mlflow-artifacts:/") + "/bundle.json"


async def state_of(url: str, login: tuple[str, str] = READER) -> object:
    """Everything of the model `guarded`."""
    async with ModelRegistry(url, "guarded", *login) as registry:
        versions = await registry.versions()
        found = [await registry.find(each.version) for each in versions]
        bundles = [await registry.bundle(version) for version in found if version is not None]
        return await registry.aliases(), versions, bundles


async def test_who_administers_mlflow_moves_the_alias_or_the_files_and_gets_nothing_loaded(
    mlflow_url: str, guarded: Trained, tmp_path: Path
) -> None:
    promoted, client = Promoted(), MlflowClient(mlflow_url, mlflow_url)
    await promoted.promote(guarded.version, guarded.run_id, guarded.digest)
    async with ModelRegistry(mlflow_url, "guarded", *READER) as registry:
        watch = watching(registry, promoted)
        await watch.poll()
        assert watch.report("here").loaded == guarded.version == "1"
        source = client.get_model_version("guarded", "1").source
        mine = client.create_model_version("guarded", source, guarded.run_id)
        client.set_registered_model_alias("guarded", "champion", mine.version)
        await watch.poll()
        assert watch.report("here").problem == (
            "champion: version 2 cannot be loaded: the registry's champion is version 2, but version 1 was "
            "promoted (find out who moved the alias, then `shotwatch models promote 1` puts it back); "
            "judging with version 1"
        )
        client.set_registered_model_alias("guarded", "champion", "1")
        await watch.poll()
        assert watch.report("here").problem == ""

        overwrite_manifest(client, guarded.run_id, tmp_path)
        restarted = watching(registry, promoted)
        await restarted.poll()
        assert restarted.current is None
        assert "bundle's digest" in restarted.report("here").problem
        assert restarted.report("here").problem.endswith("; judging with rules only")


def overwrite_manifest(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Change a word of a bundle, which can be loaded as before."""
    manifest = Path(client.download_artifacts(run_id, "bundle/bundle.json", str(folder)))
    manifest.write_text(manifest.read_text().replace('"strided"', '"mine"'))
    assert read_baselines(manifest.read_bytes())
    client.log_artifact(run_id, str(manifest), "bundle")


async def test_a_login_that_is_refused_is_worth_another_try_and_reports_it(mlflow_url: str) -> None:
    for login, status in ((("reader", "old"), 401), (("", ""), 401)):
        async with ModelRegistry(mlflow_url, "guarded", *login) as registry:
            with pytest.raises(Retry, match=f"refuses the login.*{status}"):
                await registry.aliases()
    async with ModelRegistry(mlflow_url, "guarded", *READER) as registry:
        with pytest.raises(Retry, match=r"refuses the login.*403"):
            await registry.give(ModelAlias.CHAMPION, "1")


async def test_a_server_that_starts_with_other_passwords_has_everything_and_refuses_the_old_ones(
    mlflow_url: str, mlflow_folder: Path, guarded: Trained
) -> None:
    before = await state_of(mlflow_url)
    server = models(mlflow_folder, "another of the engineer", "another of the reader", PORTS)
    async with serving(server):
        url = server.settings["SHOTWATCH_MODELS_URL"]
        for login in (READER, ENGINEER):
            async with ModelRegistry(url, "guarded", *login) as registry:
                with pytest.raises(Retry, match="refuses the login"):
                    await registry.aliases()
        assert await state_of(url, ("reader", "another of the reader")) == before
