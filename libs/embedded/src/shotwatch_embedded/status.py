"""The state of the processes of a stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """The state of a kept process."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    """It was ready and is alive, but does not serve now."""
    RESTARTING = "restarting"
    """It died and is restarted after a pause."""
    STOPPED = "stopped"


class Role(StrEnum):
    """The role of a process in the stack."""

    SERVER = "server"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Status:
    """The current state of one process."""

    name: str
    """`broker`, `ingest-1` …"""
    role: Role
    state: State
    pid: int | None
    """The leader of its process group, while it is alive."""
    restarts: int
    exit_code: int | None
    """Exit code of its last run; negative: the signal that ended it."""
    log: Path
    port: int
    """The port at which a server answers its clients, or a service its health checks (/ready)."""
    ports: Mapping[str, int]
    """Ports assigned to a service, by the environment variable that holds each."""
