"""Settings of the features service."""

from shotwatch_common.settings import BrokerSettings, PositiveFloat


class FeaturesSettings(BrokerSettings):
    """The settings that all services share, and the period of the check for new calibration constants."""

    calibration_poll_seconds: PositiveFloat = 10.0
    """Pause between two checks for new noise models and references, in seconds."""
