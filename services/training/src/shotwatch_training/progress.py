"""How a long computation reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """A callback to which a computation reports its steps and their figures."""

    def __call__(self, step: str, /, **figures: object) -> None: ...
