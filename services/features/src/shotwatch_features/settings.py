"""Settings of the features service."""

from shotwatch_common.settings import Settings


class FeaturesSettings(Settings):
    """What all services share, and how soon a new characterisation is used."""

    characterisation_poll_seconds: float = 10.0
    """How often to look for new noise models and references."""
