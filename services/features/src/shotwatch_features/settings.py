"""Settings of the features service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class FeaturesSettings(BrokerSettings):
    """What all services share, and how soon a new characterisation is used."""

    characterisation_poll_seconds: PositiveFloat = 10.0
    """How often to look for new noise models and references."""
