"""The processes of a stack, for people and for programs."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from shotwatch_cli.output import stdout, styled, table
from shotwatch_embedded.status import State, Status

_STYLES = {State.READY: "green", State.STARTING: "yellow", State.STOPPED: "dim"}
_TROUBLE = "bold red"


class Screen:
    """The current state of the processes: a table that is updated, or a line for each change."""

    def __init__(self) -> None:
        self._processes: dict[str, Status] = {}
        self._live = Live(console=stdout, auto_refresh=False)

    def __enter__(self) -> Self:
        if stdout.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, process: Status) -> None:
        """Show the new state of a process."""
        self._processes[process.name] = process
        if self._live.is_started:
            self._live.update(process_table("", self._processes.values()), refresh=True)
        else:
            stdout.print(styled(f"{process.name:<12}", state_text(process.state), _life(process)))


def process_table(title: str, processes: Iterable[Status]) -> Table:
    """Return a table with one row per server and service."""
    columns = ("process", "state", "pid#", "restarts#", "address", "log")
    return table(title, columns, (_row(process) for process in processes))


def process_record(process: Status) -> dict[str, object]:
    return {
        "name": process.name,
        "role": process.role,
        "state": process.state,
        "pid": process.pid,
        "restarts": process.restarts,
        "exit_code": process.exit_code,
        "port": process.port,
        "log": str(process.log),
    }


def state_text(state: State) -> Text:
    return styled((state, _STYLES.get(state, _TROUBLE)))


def _row(process: Status) -> tuple[object, ...]:
    pid = "" if process.pid is None else process.pid
    address = f"127.0.0.1:{process.port}"
    return process.name, state_text(process.state), pid, process.restarts, address, process.log


def _life(process: Status) -> str:
    if process.state is State.RESTARTING:
        return f" (exit code {process.exit_code}, log {process.log})"
    return "" if process.pid is None else f" (pid {process.pid})"
