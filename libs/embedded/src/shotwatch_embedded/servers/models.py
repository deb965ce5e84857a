"""MLflow behind two logins: runs and models in SQLite, artifacts in a folder."""

import sys
from functools import partial
from pathlib import Path

from shotwatch_common.services import SERVICES, ModelsAccount
from shotwatch_embedded.guarded_mlflow import ENGINEER, ENGINEER_PASSWORD, READER, READER_PASSWORD
from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment


def models(folder: Path, engineer_password: str, reader_password: str, ports: Ports) -> Server:
    """Return MLflow's web application in one process, behind `guarded_mlflow`.

    The command line and training log in as `engineer`, services as `reader`.

    `mlflow server` would import MLflow twice, in itself and in the worker that it starts. That takes twice
    the time until ready (14 s instead of 7) and twice the memory (510 MB instead of 255). The application is
    started as that command starts it, with the same variables. MLflow's version is pinned, because these
    variables are internal to it.
    """
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    port = ports.take()
    address = f"{LOOPBACK}:{port}"
    return Server(
        name="models",
        command=(
            *(sys.executable, "-P", "-m", "shotwatch_embedded.servers.uvicorn_server"),
            *("shotwatch_embedded.guarded_mlflow:application", LOOPBACK, str(port)),
        ),
        environment=server_environment()
        | {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts.as_uri(),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_AI_GATEWAY": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            ENGINEER_PASSWORD: engineer_password,
            READER_PASSWORD: reader_password,
        },
        folder=folder,
        port=port,
        # The search creates the tables, which takes a second at the first start.
        probe=partial(
            probes.answers,
            f"http://{READER}:{reader_password}@{address}/api/2.0/mlflow/registered-models/search",
        ),
        settings={
            "SHOTWATCH_MODELS_URL": f"http://{address}",
            "SHOTWATCH_MODELS_USER": ENGINEER,
            "SHOTWATCH_MODELS_PASSWORD": engineer_password,
        },
        accounts={
            service.name: {"SHOTWATCH_MODELS_USER": READER, "SHOTWATCH_MODELS_PASSWORD": reader_password}
            for service in SERVICES
            if service.models is ModelsAccount.READER
        },
    )
