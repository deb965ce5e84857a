"""Settings of the inference service."""

from shotwatch_common.settings import Settings


class InferenceSettings(Settings):
    """What all services share, and where the model comes from."""

    model_name: str = "shotwatch"
    """Name in the model registry."""
    model_alias: str = "champion"
    """The alias whose version scores."""
    model_poll_seconds: float = 2.0
    """Pause between two looks whether the alias has moved."""
