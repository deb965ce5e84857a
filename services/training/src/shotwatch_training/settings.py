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
    """The settings that all services share."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The structure of the strided network and the way of fitting it."""

    learning_rate: float = 3e-3
    filters: int = 16
    """Number of filters of the first convolution; the second has twice as many."""
    code: int = 8
    """Number of values that encode a patch of 8 x 8 pixels."""
    spots: int = 20
    """Maximum number of spots added to each training image."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The data to train on, and how to train."""

    start: datetime | None = None
    """None = from the oldest shot."""
    end: datetime | None = None
    """None = to the newest shot."""
    places: tuple[str, ...] = ()
    """Places such as `LA-A1-11`; empty = all of the facility."""
    architecture: ArchitectureName = ArchitectureName.STRIDED
    epochs: int = 30
    budget_seconds: float = 20.0
    """Time for fitting each network, in seconds; reading, calibration and logging take additional time."""
    trials: int = 1
    """Number of strided networks to fit; all but the first have random hyperparameters. The best is taken."""
    frames_per_camera: int = 300
    dataset: str | None = None
    """Name of a stored training set to take frames from; None = frames of the normal shots."""
    seed: int = 0
    register_only: bool = False
    """Whether to give the new version no alias; otherwise it becomes the challenger."""
