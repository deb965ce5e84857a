"""Base classes of the messages between services."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class StageMessage(Message):
    """A message that a stage takes from its queue."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many records or shots the message is about."""
