"""The object stores that the services must get on with, each a server that a test can start."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment
from shotwatch_embedded.servers.store import store as embedded_store
from tests.ports import free_port

from .conftest import REPOSITORY

KEYS = ("the-access-key", "the-secret-key-is-longer")

_BROKER_URL = "MINIO_NOTIFY_AMQP_URL_SHOTWATCH"
_SECRETS = "MINIO_CONFIG_ENV_FILE"
"""Names the file of the store's secret settings."""
_MINIO = REPOSITORY / ".venv" / "bin" / "minio"


def _deployed() -> Mapping[str, Any]:
    """The environment of the store in docker-compose.yml."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    variables: Mapping[str, Any] = compose["services"]["store"]["environment"]
    return variables


def _write_secrets(file: Path, secrets: Mapping[str, str]) -> None:
    """Write what deploy/make-env writes to `store-env`."""
    listed = (REPOSITORY / "deploy" / "secrets.txt").read_text(encoding="utf-8")
    found = re.search(r"^store-env +(.+)$", listed, re.MULTILINE)
    assert found is not None
    names = [line.partition("=")[0] for line in found[1].split(r"\n")]
    assert names == list(secrets)
    file.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()), encoding="utf-8")


def minio(folder: Path, access_key: str, secret_key: str, _ports: Ports) -> Server:
    """MinIO, configured as docker-compose.yml does; the broker that it notifies of new objects is away."""
    if not _MINIO.exists():
        pytest.skip("MinIO is not installed: `make test-minio` does that")
    port, console = free_port(), free_port()
    url = f"http://{LOOPBACK}:{port}"
    secrets = {
        "MINIO_ROOT_USER": access_key,
        "MINIO_ROOT_PASSWORD": secret_key,
        _BROKER_URL: f"amqp://{LOOPBACK}:1/",
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_secrets(folder / "store-env", secrets)
    here = {
        _SECRETS: str(folder / "store-env"),
        "MINIO_NOTIFY_AMQP_QUEUE_DIR_SHOTWATCH": str(folder / "events"),
    }
    deployed = _deployed()
    assert here.keys() <= deployed.keys()
    return Server(
        name="minio",
        command=(
            *(str(_MINIO), "server", str(folder / "objects")),
            *("--address", f"{LOOPBACK}:{port}", "--console-address", f"{LOOPBACK}:{console}"),
        ),
        environment={**server_environment(), **deployed, **here},
        folder=folder,
        port=port,
        probe=partial(probes.answers, f"{url}/minio/health/ready"),
        settings={
            "SHOTWATCH_STORE_URL": url,
            "SHOTWATCH_STORE_ACCESS_KEY": access_key,
            "SHOTWATCH_STORE_SECRET_KEY": secret_key,
        },
    )


def notification(server: Server, broker_url: str) -> Server:
    """The server, notifying this broker of new objects."""
    file = Path(server.environment[_SECRETS])
    secrets = dict(line.split("=", 1) for line in file.read_text(encoding="utf-8").splitlines())
    _write_secrets(file, secrets | {_BROKER_URL: broker_url})
    return server


StoreRecipe = Callable[[Path, str, str, Ports], Server]
STORES = [
    pytest.param(embedded_store, id="embedded"),
    pytest.param(minio, id="minio", marks=pytest.mark.minio),
]
"""For `@pytest.fixture(params=STORES)`: what is asked of an object store is asked of each."""
