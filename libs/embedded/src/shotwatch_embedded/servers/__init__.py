"""The servers of the embedded stack: how each is set up, started and checked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shotwatch_embedded.launch import Probe

_FOREIGN = ("RABBITMQ_", "ERL_", "RCLONE_", "MLFLOW_", "_MLFLOW_", "SECANTUS_", "UVICORN_")


@dataclass(frozen=True, slots=True)
class Server:
    """One server, set up and ready to be started."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    port: int
    probe: Probe
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that its clients need to use it."""
    accounts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Service → its own variables instead of `settings`, for a server with an account for each service."""


def server_environment() -> dict[str, str]:
    """Return the caller's environment without the variables that would change the behaviour of a server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
