"""What the decision and the rules say about a shot."""

from dataclasses import dataclass

from shotwatch_shots.vocabulary import AnomalyKind, Severity


@dataclass(frozen=True, slots=True)
class Contribution:
    """How far one feature is from its reference, and what it is."""

    device: str
    feature: str
    value: float
    reference: float
    sigmas: float
    """(value - reference) in robust standard deviations of the training period."""
    unit: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of anomaly in one shot, all devices that show it together."""

    shot: int
    """Index of the shot in its batch."""
    kind: AnomalyKind
    severity: Severity
    devices: tuple[str, ...]
    """The one that shows it most comes first."""
    score: float
    threshold: float
    """`score` is above it."""
    why: str
    """One sentence for the person on shift."""
    contributions: tuple[Contribution, ...] = ()
    """Strongest first."""
