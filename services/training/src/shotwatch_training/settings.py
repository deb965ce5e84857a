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
    """What all services share."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How the strided network is built and fitted."""

    learning_rate: float = 3e-3
    filters: int = 16
    """Of the first convolution; the second has twice as many."""
    code: int = 8
    """Numbers that tell a patch of 8 x 8 pixels."""
    spots: int = 20
    """Put into each training image, at most."""


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
    """For fitting each network; reading, calibration and logging come on top."""
    trials: int = 1
    """Strided networks to fit; from the second on with hyperparameters drawn at random. The best is taken."""
    frames_per_camera: int = 300
    dataset: str | None = None
    """A stored training set to take frames from; None = frames of the normal shots."""
    seed: int = 0
    register_only: bool = False
    """Whether the new version becomes nothing; else it becomes the challenger."""
