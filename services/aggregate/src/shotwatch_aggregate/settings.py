"""Settings of the aggregate service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class AggregateSettings(BrokerSettings):
    """The settings that all services share, and the period of the checks for overdue windows."""

    window_sweep_seconds: PositiveFloat = 1.0
    """Pause between two checks for windows that are overdue or have unpublished messages, in seconds."""
