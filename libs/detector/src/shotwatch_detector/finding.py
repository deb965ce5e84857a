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
