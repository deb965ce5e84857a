"""The file stack.json, by which other commands find a running stack and its settings."""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from shotwatch_common.settings import PREFIX
from shotwatch_embedded import lock
from shotwatch_embedded.credentials import write_private
from shotwatch_embedded.errors import StackNotFound
from shotwatch_embedded.ownership import belongs_to_caller, open_own, own_folder, require_own, require_trusted
from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.services import QUERY_PORT
from shotwatch_embedded.status import State, Status

DEFAULT_ROOT = Path(".shotwatch")
_NAME = "stack.json"


class StackDescription(BaseModel):
    """A running stack as its supervisor last described it."""

    model_config = ConfigDict(frozen=True)

    name: str
    folder: Path
    pid: int
    """Pid of the supervisor."""
    environment: dict[str, str]
    """Addresses and settings as services get them, including secrets."""
    processes: tuple[Status, ...]
    token: str | None = None
    """API key of its REST API with every scope; None if the API uses a keys file of the user."""

    @field_validator("environment")
    @classmethod
    def _keep_only_settings(cls, environment: dict[str, str]) -> dict[str, str]:
        """Return the settings, without variables that act on a process by themselves (PYTHONPATH, …)."""
        return {name: value for name, value in environment.items() if name.startswith(PREFIX)}

    @property
    def query_urls(self) -> tuple[str, ...]:
        """Addresses of the REST API, one for each living replica."""
        return tuple(
            f"http://{LOOPBACK}:{process.ports[QUERY_PORT]}"
            for process in self.processes
            if QUERY_PORT in process.ports and process.state is not State.STOPPED
        )

    @property
    def page_urls(self) -> tuple[str, ...]:
        """Addresses of the live page that need no login.

        The token is in the fragment, which browsers never send: it appears in no log, trace or referrer.
        """
        fragment = f"#token={self.token}" if self.token else ""
        return tuple(f"{url}/{fragment}" for url in self.query_urls)

    @property
    def runs(self) -> bool:
        """Whether this stack still runs. A restarted stack is a different one, as it has other secrets."""
        if not lock.is_held(self.folder):
            return False
        try:
            now = _read(self.folder)
        except FileNotFoundError:  # it is just ending or starting
            return False
        return now.environment == self.environment

    def write(self) -> None:
        """Replace the description in the stack's folder; only the owner can read it."""
        write_private(self.folder / _NAME, self.model_dump_json(indent=2))


def forget(folder: Path) -> None:
    """Remove the description of a stack that has ended."""
    (folder / _NAME).unlink(missing_ok=True)


def running_stacks(root: Path = DEFAULT_ROOT) -> list[StackDescription]:
    """Return all stacks of the caller that run under `root`, sorted by name.

    Raises:
        ForeignStack: the root, or a file in a folder of the caller, belongs to another user.
    """
    own = (folder for folder in _described_folders(root) if belongs_to_caller(folder))
    return [_read(folder) for folder in own if lock.is_held(folder)]


def find_stack(root: Path = DEFAULT_ROOT, name: str | None = None) -> StackDescription:
    """Return the stack called `name`, or the only one that runs.

    Raises:
        StackNotFound: none runs, none of that name runs, or several run and none was named.
        ForeignStack: the root or the stack called `name` belongs to another user, or no other stack is there.
    """
    running = {stack.name: stack for stack in running_stacks(root)}
    if name is None and len(running) == 1:
        return next(iter(running.values()))
    if name in running:
        return running[name]
    if name is not None or not running:
        _refuse_foreign(root, name)
    raise StackNotFound(_why_not(root, name, sorted(running)))


def _described_folders(root: Path) -> Iterator[Path]:
    """Yield the folders under `root` that have a description, sorted.

    Raises:
        ForeignStack: the root belongs to another user, or is a link.
    """
    if os.path.lexists(root):
        require_trusted(root)
    return (path.parent for path in sorted(root.glob(f"*/{_NAME}")))


def _refuse_foreign(root: Path, name: str | None) -> None:
    for folder in _described_folders(root):
        if name in (None, folder.name):
            require_own(folder)


def _read(folder: Path) -> StackDescription:
    with own_folder(folder) as within, os.fdopen(open_own(folder / _NAME, within, os.O_RDONLY)) as file:
        return StackDescription.model_validate_json(file.read())


def _why_not(root: Path, name: str | None, running: list[str]) -> str:
    if not running:
        return f"no stack runs under {root.resolve()}: start one with `shotwatch up`"
    if name is None:
        return f"several stacks run under {root.resolve()} ({', '.join(running)}): name one"
    return f"no stack called {name} runs under {root.resolve()}; these do: {', '.join(running)}"
