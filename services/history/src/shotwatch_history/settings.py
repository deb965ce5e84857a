"""Settings of the history service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class HistorySettings(BrokerSettings):
    """What all services share, and how often to look."""

    trend_poll_seconds: PositiveFloat = 60.0
    """Pause between two looks for slow changes."""
    drift_poll_seconds: PositiveFloat = 60.0
    """Pause between two looks for drift."""
    reference_poll_seconds: PositiveFloat = 30.0
    """Pause between two looks for references that are old."""
