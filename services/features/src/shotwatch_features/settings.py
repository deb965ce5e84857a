"""Settings of the features service."""

from shotwatch_common.settings import Settings


class FeaturesSettings(Settings):
    """What all services share."""
