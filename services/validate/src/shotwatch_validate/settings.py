"""Settings of the validate service."""

from shotwatch_common.settings import BrokerSettings


class ValidateSettings(BrokerSettings):
    """What all services share."""
