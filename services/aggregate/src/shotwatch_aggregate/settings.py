"""Settings of the aggregate service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class AggregateSettings(BrokerSettings):
    """What all services share, and how often deadlines are looked at."""

    window_sweep_seconds: PositiveFloat = 1.0
    """Pause between two looks for windows that are overdue or hold back a message."""
