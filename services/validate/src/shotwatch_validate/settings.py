"""Settings of the validate service."""

from shotwatch_common.settings import Settings


class ValidateSettings(Settings):
    """What all services share."""
