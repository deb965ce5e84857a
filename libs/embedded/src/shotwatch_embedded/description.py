"""The file stack.json, by which other commands find a running stack and its settings."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shotwatch_embedded import lock
from shotwatch_embedded.credentials import write_private
from shotwatch_embedded.errors import StackNotFound
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
            now = StackDescription.model_validate_json((self.folder / _NAME).read_text())
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
    """Return all stacks that run under `root`, sorted by name."""
    described = (path for path in sorted(root.glob(f"*/{_NAME}")) if lock.is_held(path.parent))
    return [StackDescription.model_validate_json(path.read_text()) for path in described]


def find_stack(root: Path = DEFAULT_ROOT, name: str | None = None) -> StackDescription:
    """Return the stack called `name`, or the only one that runs.

    Raises:
        StackNotFound: none runs, none of that name runs, or several run and none was named.
    """
    running = {stack.name: stack for stack in running_stacks(root)}
    if name is None and len(running) == 1:
        return next(iter(running.values()))
    if name in running:
        return running[name]
    raise StackNotFound(_why_not(root, name, sorted(running)))


def _why_not(root: Path, name: str | None, running: list[str]) -> str:
    if not running:
        return f"no stack runs under {root.resolve()}: start one with `shotwatch up`"
    if name is None:
        return f"several stacks run under {root.resolve()} ({', '.join(running)}): name one"
    return f"no stack called {name} runs under {root.resolve()}; these do: {', '.join(running)}"
