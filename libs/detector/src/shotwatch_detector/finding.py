"""The findings of the decision and the rules in a shot."""

from dataclasses import dataclass

from shotwatch_shots.event import Contribution
from shotwatch_shots.vocabulary import AnomalyKind, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of anomaly in one shot, with all devices that show it."""

    shot: int
    """Index of the shot in its batch."""
    kind: AnomalyKind
    severity: Severity
    devices: tuple[str, ...]
    """The device with the strongest deviation comes first."""
    score: float
    threshold: float
    """The limit that `score` exceeds."""
    why: str
    """One sentence for operators."""
    contributions: tuple[Contribution, ...] = ()
    """Strongest first."""
    provisional: bool = False
    """Whether the shots learned from, and the past of the place, support less than the threshold."""
    extrapolated: float = 0.0
    """The score of a deviation by the fitted tail alone, however far that is extrapolated."""

    @property
    def strength(self) -> float:
        """The score before it is limited to what may be claimed: findings are compared by it."""
        return max(self.score, self.extrapolated)
