"""Settings of the features service."""

from shotwatch_common.settings import BrokerSettings


class FeaturesSettings(BrokerSettings):
    """What all services share."""
