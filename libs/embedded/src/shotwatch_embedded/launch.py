"""How a process of the stack is started."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shotwatch_embedded.status import Role

Probe = Callable[[], Awaitable[bool]]
"""Checks whether a process works now. It raises nothing."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The way a process is started, checked and ended."""

    name: str
    role: Role
    command: tuple[str, ...]
    environment: Mapping[str, str]
    owner: Path
    """Folder of the stack that the process belongs to."""
    folder: Path
    """Its working directory."""
    log: Path
    port: int
    """Port of the readiness check, once the process listens there."""
    probe: Probe
    check_every: float
    """Seconds between probes of a process that is ready."""
    grace: float
    """Seconds between SIGTERM and SIGKILL."""
    alive: Probe | None = None
    """Checks whether a process that is not ready can do anything at all; without it, the process may be."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports assigned to it, by the environment variable that holds each."""
