"""Settings of the inference service."""

from pydantic import Field

from shotwatch_common.settings import BrokerSettings


class InferenceSettings(BrokerSettings):
    """The settings that all services share, and the rate of false alarms."""

    false_alarms_per_hour: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Expected false alarms per hour of the whole facility; each place and interval has an equal share."""
