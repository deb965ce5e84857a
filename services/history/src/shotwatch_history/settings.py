"""Settings of the history service."""

from shotwatch_common.settings import BrokerSettings


class HistorySettings(BrokerSettings):
    """What all services share."""
