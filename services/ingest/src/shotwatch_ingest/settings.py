"""Settings of the ingest service."""

from pydantic import Field

from shotwatch_common.settings import BrokerSettings, PositiveFloat, PositiveInt

SECONDS_PER_FILE = 60.0
"""Longest time that a reader may take for a file."""


class IngestSettings(BrokerSettings):
    """What all services share, the readers, and the sweep."""

    readers: PositiveInt = 2
    """Reader processes; each reads one file at a time. With two, a file that takes long holds up no other."""
    inbox_sweep_seconds: float = Field(0.5, ge=0, allow_inf_nan=False)
    """Pause between two sweeps of the inbox for objects that no notification reported; 0 = no sweep."""
    inbox_notification_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    """The sweep leaves an object this young to the store's notification; 0 = the store sends none."""
    inbox_again_seconds: PositiveFloat = 120.0
    """An object still in the inbox after that long is fed in again: its message was lost."""

    @property
    def drain_seconds(self) -> float:
        """Longer than the longest file takes."""
        return SECONDS_PER_FILE + super().drain_seconds
