"""The effects of a process on its servers, and the fault that happens at one of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

Result = TypeVar("Result")


class Died(BaseException):
    """The process ended here, as by SIGKILL. No handler of ours catches this."""


class Fault(Enum):
    """What goes wrong at an effect."""

    DIED = "the process dies before the effect"
    REFUSED = "the server refuses: no effect, and an error after which the call may be repeated"
    UNANSWERED = "the server does it, but its answer is lost: an effect, and the same error"


@dataclass
class Effects:
    """The writes, publications and acknowledgements of a process, in their order."""

    done: list[str] = field(default_factory=list)
    """Such as `put blocks/…`, `update_one objects.state`, `publish validate`, `acknowledge ingest`."""
    fault: Fault | None = None
    at: int = 0
    """Number of the effect at which the fault happens, from 0; it happens once."""
    happened: bool = False
    """Whether the fault has happened."""
    dead: bool = False
    """Whether the process is dead. Nothing that it does while it unwinds has an effect."""

    def perform(self, name: str, act: Callable[[], Result], refusal: Callable[[], Exception]) -> Result:
        """Do what a client asked its server for. `refusal` makes the error that the client raises otherwise.

        Raises:
            Died: the process ends before the effect.
        """
        if self.dead:
            raise Died(name)
        fault = self.fault if len(self.done) == self.at and not self.happened else None
        self.happened |= fault is not None
        match fault:
            case Fault.DIED:
                self.dead = True
                raise Died(name)
            case Fault.REFUSED:
                raise refusal()
        result = act()
        self.done.append(name)
        if fault is Fault.UNANSWERED:
            raise refusal()
        return result
