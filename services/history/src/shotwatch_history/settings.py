"""Settings of the history service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class HistorySettings(BrokerSettings):
    """The settings that all services share, and the periods of the checks."""

    trend_poll_seconds: PositiveFloat = 60.0
    """Pause between two checks for slow changes, in seconds."""
    drift_poll_seconds: PositiveFloat = 60.0
    """Pause between two checks for drift, in seconds."""
    reference_poll_seconds: PositiveFloat = 30.0
    """Pause between two checks for old references, in seconds."""
