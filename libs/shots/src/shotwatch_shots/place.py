"""Places of the chain."""

from dataclasses import dataclass

from shotwatch_shots.message import Message

NO_ARM = "00"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the amplifier chain."""

    frontend: str
    amp: str
    arm: str = NO_ARM

    def __str__(self) -> str:
        return f"{self.frontend}-{self.amp}-{self.arm}"


class PlaceRef(Message):
    """A place of the chain and the interval at which it is recorded."""

    frontend: str
    amp: str
    arm: str
    interval: str
