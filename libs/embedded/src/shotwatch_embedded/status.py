"""What is known of the processes of a stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """What a kept process is doing."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    """It was ready and lives, but does not serve now."""
    RESTARTING = "restarting"
    """It died and is started again after a pause."""
    STOPPED = "stopped"


class Role(StrEnum):
    """What a process is in the stack."""

    SERVER = "server"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of one process."""

    name: str
    """`broker`, `ingest-1` …"""
    role: Role
    state: State
    pid: int | None
    """The leader of its process group, while it lives."""
    restarts: int
    exit_code: int | None
    """Of its last life; negative: the signal that ended it."""
    log: Path
    port: int
    """Where it answers: a server its clients, a service its health checks (/ready)."""
    ports: Mapping[str, int]
    """Ports that a service was given, by the environment variable that says so."""
