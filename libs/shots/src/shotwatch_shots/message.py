"""Base classes of the messages between services."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

SMALL = 20
"""Largest number of records or shots in a small message: it takes each stage some milliseconds."""


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
