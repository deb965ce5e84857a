"""MLflow's client in memory: what training asks of it, answered from a registry in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

from .registry import LoggedRun, Registered, StoredVersion

Result = TypeVar("Result")


@dataclass
class MlflowClientInMemory:
    """A client. `Registry` takes it in place of the real one."""

    registered: Registered

    def get_experiment_by_name(self, _name: str) -> SimpleNamespace:
        return SimpleNamespace(experiment_id="1")

    def create_run(self, _experiment: str, tags: Mapping[str, str] | None = None) -> SimpleNamespace:  # noqa: ARG002
        runs = self.registered.runs
        run_id = f"trained-{len(runs)}"
        self._perform("create run", lambda: runs.update({run_id: LoggedRun()}))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def get_run(self, run_id: str) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=run_id))

    def log_batch(self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = ()) -> None:
        run = self.registered.runs[run_id]

        def log() -> None:
            run.params.update({param.key: param.value for param in params})
            run.metrics.update({metric.key: metric.value for metric in metrics})

        self._perform("log params" if params else "log metrics", log)

    def log_artifacts(self, run_id: str, folder: str, under: str | None) -> None:
        run = self.registered.runs[run_id]
        files = {"/".join(filter(None, [under, p.name])): p.read_bytes() for p in Path(folder).iterdir()}
        self._perform(f"upload {under or 'pictures'}", lambda: run.files.update(files))

    def set_terminated(self, run_id: str, status: str = "FINISHED") -> None:
        run = self.registered.runs[run_id]
        self._perform(f"end run {status}", lambda: setattr(run, "status", status))

    def create_registered_model(self, _name: str) -> None:
        if self.registered.versions:
            raise MlflowException("the model exists", RESOURCE_ALREADY_EXISTS)

    def create_model_version(
        self, _name: str, source: str, run_id: str, tags: Mapping[str, str]
    ) -> SimpleNamespace:
        folder = source.removeprefix(run_id).lstrip("/") + "/"
        files = self.registered.runs[run_id].files
        bundle = {path.removeprefix(folder): data for path, data in files.items() if path.startswith(folder)}
        versions = self.registered.versions
        version = str(len(versions) + 1)
        self._perform(
            "create version", lambda: versions.update({version: StoredVersion(run_id, bundle, dict(tags))})
        )
        return SimpleNamespace(version=version)

    def _perform(self, what: str, act: Callable[[], Result]) -> Result:
        return self.registered.effects.perform(what, act, lambda: MlflowException("API request failed"))
