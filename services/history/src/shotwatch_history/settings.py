"""Settings of the history service."""

from shotwatch_common.settings import Settings


class HistorySettings(Settings):
    """What all services share, how far back to look, and how often."""

    trend_hours: float = 24.0
    """Slow changes are sought in so many hours of data."""
    trend_poll_seconds: float = 60.0
    drift_minutes: float = 15.0
    """Drift is sought in so many minutes of data."""
    drift_poll_seconds: float = 60.0
    reference_minutes: float = 60.0
    """A camera's reference is made from the normal shots of so many minutes of data."""
    reference_hours: float = 24.0
    """A reference that is so many hours older than the newest data is made anew."""
    reference_poll_seconds: float = 30.0
