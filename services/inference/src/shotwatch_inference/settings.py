"""Settings of the inference service."""

from pydantic import Field

from shotwatch_common.settings import BrokerSettings


class InferenceSettings(BrokerSettings):
    """What all services share, and how to judge."""

    false_alarms_per_hour: float = Field(1.0, gt=0, allow_inf_nan=False)
    """How often usual shots of a place may be called odd, at 10 Hz; slower places raise as many fewer."""
