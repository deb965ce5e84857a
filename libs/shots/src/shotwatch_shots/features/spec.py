"""The definition of a feature: what it is, and how it indicates an anomaly."""

from dataclasses import dataclass
from enum import StrEnum

from shotwatch_shots.vocabulary import AnomalyKind

EVERY_SHOT = "every shot"
DETAILED_SHOTS = "one shot a second, and every anomalous one"
SCORED_SHOTS = "every shot, once there is a model"
REFERRED_SHOTS = "every shot, once the camera has a reference"
ISO_BEAM = "ISO 11146-1, ISO/TR 11146-3"


class Side(StrEnum):
    """The direction in which deviations from the reference are anomalous."""

    BOTH = "both"
    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Indicator:
    """A feature as an indicator of an anomaly.

    A floor keeps a feature that hardly varied during training from raising an alarm when it starts to vary.
    """

    kind: AnomalyKind | None
    """None for a feature that explains others and raises no alarm itself."""
    noun: str
    """What operators call it, or the spot that it is the score of. Empty if it raises no alarm."""
    side: Side = Side.BOTH
    floor: float = 0.0
    """Smallest standard deviation, in the feature's unit."""
    relative_floor: float = 0.0
    """Smallest standard deviation, as a share of the reference."""
    in_unit: bool = False
    """Whether operators read a deviation in the feature's unit.

    A percentage of an arbitrary or very small reference has no meaning.
    """
    spot_size: str = ""
    """The feature that holds the size of the spot, if this is the score of one.

    The position is in those named after this one: `hot_spot_x`, `hot_spot_y`.
    """


EXPLAINS = Indicator(None, "", relative_floor=0.01)
"""The feature is listed beside others that deviate."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A measured quantity, as the detector, the REST API, the events and the documentation know it."""

    name: str
    unit: str
    """Empty for pure numbers."""
    range: tuple[float, float]
    """Lowest and highest possible value; infinite if there is no bound."""
    description: str
    source: str = ""
    """The standard or report that defines it, if there is one."""
    measured_on: str = EVERY_SHOT
    """The shots that have it."""
    indicator: Indicator | None = None
    """None for a feature that is not judged."""
