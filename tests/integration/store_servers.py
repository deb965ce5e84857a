"""The object stores that the services must get on with, each a server that a test can start."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shotwatch_embedded.ports import LOOPBACK, Ports
from shotwatch_embedded.servers import Server, probes, server_environment
from shotwatch_embedded.servers.store import store as embedded_store

from .conftest import REPOSITORY

KEYS = ("the-access-key", "the-secret-key-is-longer")

_BROKER_URL = "MINIO_NOTIFY_AMQP_URL_SHOTWATCH"
_MINIO = REPOSITORY / ".venv" / "bin" / "minio"


def _deployed() -> Mapping[str, Any]:
    """The environment of the store in docker-compose.yml."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    told: Mapping[str, Any] = compose["services"]["store"]["environment"]
    return told


def minio(folder: Path, access_key: str, secret_key: str, ports: Ports) -> Server:
    """MinIO, configured as docker-compose.yml does; the broker that it tells of new objects is away."""
    if not _MINIO.exists():
        pytest.skip("MinIO is not installed: `make test-minio` does that")
    port, console = ports.take(), ports.take()
    url = f"http://{LOOPBACK}:{port}"
    here = {
        "MINIO_ROOT_USER": access_key,
        "MINIO_ROOT_PASSWORD": secret_key,
        _BROKER_URL: f"amqp://{LOOPBACK}:1/",
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


def telling(server: Server, broker_url: str) -> Server:
    """The server, telling this broker of new objects."""
    return replace(server, environment={**server.environment, _BROKER_URL: broker_url})


StoreRecipe = Callable[[Path, str, str, Ports], Server]
STORES = [
    pytest.param(embedded_store, id="embedded"),
    pytest.param(minio, id="minio", marks=pytest.mark.minio),
]
"""For `@pytest.fixture(params=STORES)`: what is asked of an object store is asked of each."""
