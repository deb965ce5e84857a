"""The servers of the embedded stack: how each is set up, started and known to work."""

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
    """What its clients must be told to use it, as environment variables."""
    accounts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Service → what it alone is told, instead of `settings`, on a server with an account for each."""


def server_environment() -> dict[str, str]:
    """The caller's environment less what would change a server behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
