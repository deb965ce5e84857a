"""How a process of the stack is started."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shotwatch_embedded.status import Role

Probe = Callable[[], Awaitable[bool]]
"""Whether a process does its work now. It raises nothing."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started and ended, and how one knows that it serves."""

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
    """Where it is asked whether it serves, once it listens there."""
    probe: Probe
    check_every: float
    """Seconds between probes of a process that is ready."""
    grace: float
    """Seconds between SIGTERM and SIGKILL."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that it was given, by the environment variable that says so."""
