"""Settings of the ingest service."""

from pydantic import Field

from shotwatch_common.settings import BrokerSettings, PositiveFloat, PositiveInt

SECONDS_PER_FILE = 60.0
"""Time limit of a reader for one file, in seconds."""


class IngestSettings(BrokerSettings):
    """The settings that all services share, and those of the readers and the sweep."""

    readers: PositiveInt = 2
    """Number of reader processes, with one file each. With two, a slow file does not block others."""
    inbox_sweep_seconds: float = Field(0.5, ge=0, allow_inf_nan=False)
    """Pause between two sweeps of the inbox for objects without a notification, in seconds; 0 = no sweep."""
    inbox_notification_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    """Age in seconds below which the sweep leaves an object to its notification; 0 = the store sends none."""
    inbox_again_seconds: PositiveFloat = 120.0
    """Time after which an object still in the inbox is fed in again, in seconds: its message was lost."""

    @property
    def drain_seconds(self) -> float:
        """Longer than the time limit for a file."""
        return SECONDS_PER_FILE + super().drain_seconds
