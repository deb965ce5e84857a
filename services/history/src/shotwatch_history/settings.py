"""Settings of the history service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class HistorySettings(BrokerSettings):
    """What all services share, how far back to look, and how often."""

    trend_hours: PositiveFloat = 24.0
    """Slow changes are sought in so many hours of data."""
    trend_poll_seconds: PositiveFloat = 60.0
    """Pause between two looks for slow changes."""
    drift_minutes: PositiveFloat = 15.0
    """Drift is sought in so many minutes of data."""
    drift_poll_seconds: PositiveFloat = 60.0
    """Pause between two looks for drift."""
    reference_minutes: PositiveFloat = 60.0
    """A camera's reference is made from the normal shots of so many minutes of data."""
    reference_hours: PositiveFloat = 24.0
    """A reference that is so many hours older than the newest data is made anew."""
    reference_poll_seconds: PositiveFloat = 30.0
    """Pause between two looks for references that are old."""
    ledger_poll_seconds: PositiveFloat = 60.0
    """Pause between two checks that the ledger adds up, and that promotions have their lines of the audit."""
