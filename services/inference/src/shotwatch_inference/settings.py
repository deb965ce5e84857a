"""Settings of the inference service."""

from pydantic import Field

from shotwatch_common.settings import Settings


class InferenceSettings(Settings):
    """What all services share, and how to judge."""

    false_alarms_per_hour: float = Field(1.0, gt=0)
    """How often usual shots of a place may be called odd, at 10 Hz; slower places raise as many fewer."""
    model_poll_seconds: float = 2.0
    """Pause between two looks whether an alias has moved."""
