"""Base classes of the messages between services."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

from shotwatch_shots.errors import Reject

SMALL = 20
"""Largest number of records or shots in a small message: it takes each stage some milliseconds."""
MOST_VALUES = 1_000_000
"""Largest number of values in a message.

A parser takes up to 100 bytes for each. So the 16 MiB that the broker accepts can become 700 MB. Shots of a
minute of the largest place at 10 Hz have 43,200.
"""


def require_few_values(body: bytes) -> None:
    """Require that a JSON text has at most MOST_VALUES values, before it is parsed: each comma is one more.

    Raises:
        Reject: it may have more.
    """
    if body.count(b",") >= MOST_VALUES:
        raise Reject("wrong_message", f"it has more than {MOST_VALUES:,} values")


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class StageMessage(Message):
    """A message that a stage takes from its queue."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many records or shots the message is about."""

    @property
    def is_small(self) -> bool:
        """Whether the message takes the express queue of its stage."""
        return self.batch_size <= SMALL
