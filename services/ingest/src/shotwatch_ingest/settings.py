"""Settings of the ingest service."""

from pydantic import Field

from shotwatch_common.settings import BrokerSettings, PositiveFloat
from shotwatch_common.turns import usable_cores

SECONDS_PER_FILE = 60.0
"""Time limit of a reader for one file, in seconds."""
READERS_OF_SMALL = 2
"""Reader processes for small files: a slow file does not block others. The second starts when needed."""
FILES_IN_MEMORY = 4
"""Most large files that are read at a time; further ones are being entered, published or moved."""


class IngestSettings(BrokerSettings):
    """The settings that all services share, and those of the readers and the sweep."""

    readers: int = Field(0, ge=0)
    """Number of reader processes for large files; 0 = as many as cores that ingest may use, from 2 to 4."""
    inbox_sweep_seconds: float = Field(0.5, ge=0, allow_inf_nan=False)
    """Pause between two sweeps of the inbox for objects without a notification, in seconds; 0 = no sweep."""
    inbox_notification_seconds: float = Field(0, ge=0, allow_inf_nan=False)
    """Age in seconds below which the sweep leaves an object to its notification; 0 = the store sends none."""
    inbox_again_seconds: PositiveFloat = 120.0
    """Time after which an object still in the inbox is fed in again, in seconds: its message was lost."""

    @property
    def readers_of_large(self) -> int:
        """Number of reader processes for large files: for more than four cores, add replicas."""
        return self.readers or min(max(usable_cores(), 2), FILES_IN_MEMORY)

    @property
    def drain_seconds(self) -> float:
        """Longer than the time limit for a file."""
        return SECONDS_PER_FILE + super().drain_seconds
