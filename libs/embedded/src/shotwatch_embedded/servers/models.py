"""MLflow: runs and models in SQLite, artifacts in a folder."""

import sys
from functools import partial
from pathlib import Path

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment


def models(folder: Path, ports: Ports) -> Server:
    """MLflow's web application in one process.

    `mlflow server` would import MLflow twice, in itself and in the worker that it starts: twice the time
    until ready (14 s for 7) and twice the memory (510 MB for 255). The application is started as that
    command starts it, with the same variables; MLflow's version is pinned, as these are its own affair.
    """
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    port = ports.take()
    url = f"http://{LOOPBACK}:{port}"
    return Server(
        name="models",
        command=(
            *(sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app"),
            *("--host", LOOPBACK, "--port", str(port)),
            "--no-access-log",
        ),
        environment=server_environment()
        | {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts.as_uri(),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        folder=folder,
        port=port,
        # the search makes the tables, which take a second at the first start
        probe=partial(
            probes.answers, f"{url}/health", f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
        ),
        settings={"SHOTWATCH_MODELS_URL": url},
    )
