"""Settings of the validate service."""

from shotwatch_common.settings import BrokerSettings


class ValidateSettings(BrokerSettings):
    """The settings that all services share."""
