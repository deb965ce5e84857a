"""Settings of a training run."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shotwatch_common.settings import Settings


class ArchitectureName(StrEnum):
    """The networks to choose from."""

    STRIDED = "strided"
    REPORT = "report"


class TrainingSettings(Settings):
    """What all services share, and the name under which models are registered."""

    model_name: str = "shotwatch"
    """Name in the model registry, and of the experiment."""
    model_alias: str = "champion"
    """The alias that the new version gets."""
    dataset_bucket: str = "datasets"
    """Where training sets are kept."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train on, and how."""

    start: datetime | None = None
    """None = from the oldest shot."""
    end: datetime | None = None
    """None = to the newest shot."""
    places: tuple[str, ...] = ()
    """Such as `LA-A1-11`; none = all of the facility."""
    architecture: ArchitectureName = ArchitectureName.STRIDED
    epochs: int = 30
    budget_seconds: float = 20.0
    """For fitting alone; reading, calibration and logging come on top."""
    frames_per_camera: int = 300
    dataset: str | None = None
    """A stored training set to take frames from; None = frames of the normal shots."""
    seed: int = 0
