"""The model registry: the only module of the service that imports MLflow."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus
from mlflow.environment_variables import MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_USERNAME
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    PERMISSION_DENIED,
    RESOURCE_ALREADY_EXISTS,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
    ErrorCode,
)
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from requests import HTTPError

from shotwatch_common.clock import epoch_now
from shotwatch_common.settings import Settings
from shotwatch_shots.errors import Retry
from shotwatch_training.models.fitting import Epoch

BUNDLE = "bundle"
"""The folder of the run's artifacts that holds the model."""
_AWAY = {
    ErrorCode.Name(code)
    for code in (INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE, UNAUTHENTICATED, PERMISSION_DENIED)
}
"""Errors after which another attempt may succeed: no answer, an internal error, or a refused login."""
_AWAY_STATUS = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""The same for uploads, whose errors MLflow does not translate; besides all of 500 and above."""


@dataclass(frozen=True, slots=True)
class Run:
    """A training run in the registry, to which results are logged."""

    id: str
    client: MlflowClient

    def params(self, params: Mapping[str, object]) -> None:
        """Log the parameters of the run."""
        self.client.log_batch(self.id, params=[Param(name, str(value)) for name, value in params.items()])

    def epoch(self, epoch: Epoch) -> None:
        """Log the losses of an epoch."""
        now = epoch_now()
        values = {"loss": epoch.loss, "val_loss": epoch.validation_loss}
        self.client.log_batch(
            self.id, metrics=[Metric(name, value, now, epoch.number) for name, value in values.items()]
        )

    def metrics(self, metrics: Mapping[str, float]) -> None:
        """Log figures of the whole run."""
        now = epoch_now()
        self.client.log_batch(
            self.id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()]
        )

    def files(self, folder: Path, under: str | None = None) -> None:
        """Upload the files of a folder."""
        self.client.log_artifacts(self.id, str(folder), under)


class Registry:
    """The runs and versions of one model name on an MLflow server."""

    def __init__(self, url: str, name: str) -> None:
        self._client = MlflowClient(tracking_uri=url, registry_uri=url)
        self._name = name

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the registry that the settings name.

        MLflow's client reads its login from the environment of the process, so the login is written there.
        """
        if settings.models_user:
            os.environ[MLFLOW_TRACKING_USERNAME.name] = settings.models_user
            os.environ[MLFLOW_TRACKING_PASSWORD.name] = settings.models_password.get_secret_value()
        return cls(settings.models_url, settings.model_name)

    @contextmanager
    def run(self) -> Iterator[Run]:
        """Start a new run; it ends as failed if the block raises.

        Raises:
            Retry: the registry does not answer, has an internal error, or refuses the login.
        """
        try:
            with self._recorded() as run:
                yield run
        except MlflowException as error:
            if error.error_code in _AWAY:
                raise Retry(f"the model registry: {error}") from error
            raise
        except HTTPError as error:
            status = None if error.response is None else error.response.status_code
            if status is None or status in _AWAY_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Retry(f"the model registry: {error}") from error
            raise

    @contextmanager
    def _recorded(self) -> Iterator[Run]:
        run_id = self._client.create_run(self._experiment()).info.run_id
        try:
            yield Run(run_id, self._client)
        except BaseException:
            self._client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))
            raise
        self._client.set_terminated(run_id)

    def log_trial(self, run: Run, params: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Log one network of a search as a child run."""
        created = self._client.create_run(self._experiment(), tags={MLFLOW_PARENT_RUN_ID: run.id})
        trial = Run(created.info.run_id, self._client)
        trial.params(params)
        trial.metrics(metrics)
        self._client.set_terminated(trial.id)

    def register(self, run: Run, tags: dict[str, str]) -> str:
        """Register the run's bundle as a new version of the model, and return the version."""
        self._ensure_model()
        source = f"{self._client.get_run(run.id).info.artifact_uri}/{BUNDLE}"
        version: str = self._client.create_model_version(self._name, source, run.id, tags).version
        return version

    def _experiment(self) -> str:
        known = self._client.get_experiment_by_name(self._name)
        experiment: str = known.experiment_id if known else self._client.create_experiment(self._name)
        return experiment

    def _ensure_model(self) -> None:
        try:
            self._client.create_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
