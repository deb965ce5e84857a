"""Errors of a stack. Each message names the cause and what to do."""

from pathlib import Path


class StackError(Exception):
    """The embedded stack cannot do what was requested; the message names the cause and what to do."""


class StackRunning(StackError):
    """The requested name belongs to a stack that is running."""


class StackNotFound(StackError):
    """No stack runs, or several run and none was named."""


class ForeignStack(StackError):
    """A folder or file of a stack belongs to another user, or another user can replace it."""


class RabbitMQMissing(StackError):
    """RabbitMQ is not installed, and could not be or was not to be installed."""


class ProcessFailed(StackError):
    """A server or service did not start; the message ends with the last lines of its log."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        super().__init__(f"{name} {reason}; its log is {log} and ends with:\n{_last_lines(log)}")
        self.name = name
        self.log = log


def _last_lines(log: Path, count: int = 20) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-count:])
