"""Settings of the ingest service."""

from shotwatch_common.settings import Settings


class IngestSettings(Settings):
    """What all services share, the limits of the readers, and the sweep."""

    readers: int = 1
    """Reader processes; each reads one file at a time."""
    reader_seconds: float = 60.0
    """Longest time that a file may take."""
    reader_megabytes: int = 2048
    """Most memory that a reader may have."""
    sweep_seconds: float = 0.5
    """Pause between two looks into the inbox for what no notification brought; 0 never looks."""
    sweep_again_seconds: float = 120.0
    """An object still in the inbox after that long is fed in again: its message was lost."""
