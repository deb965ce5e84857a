"""Levels of the statistics of a series: what is known of them from earlier shots, and how they shifted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

REMEMBERED = 200
DeviceFeature = tuple[str, str]
"""Device and feature."""


@dataclass(frozen=True, slots=True)
class LevelShift:
    """A lasting change of a statistic, by a step or a drift, that a sequential test has found."""

    device: str
    feature: str
    time: int
    """Pulse of the shot that completed the evidence, epoch ms."""
    since: int
    """Pulse of the first shot that counts as evidence, epoch ms."""
    shots: int
    """Number of shots with a value from `since` to `time`."""
    deviation: float
    """Their mean deviation from the reference, in the feature's unit."""
    reference: float
    sigma: float
    """Standard deviation of single shots, in the feature's unit."""
    score: float
    """log₁₀ of the number of normal shots of the place that show as much once."""
    threshold: float
    """log₁₀ of the run length of the place's tests: of the normal shots from one false alarm to the next."""
    exceeds: bool
    """Whether the statistic exceeds its limit; otherwise it has come near to it when another one did."""
    watching: int
    """Number of devices of the place that could have shown that kind of anomaly."""


@dataclass(frozen=True, slots=True)
class SeriesLevels:
    """The levels of a series as they are stored."""

    series: str
    version: int = 0
    """Counts changes of the document; 0 if nothing is stored yet."""
    until: int = -1
    """The last pulse that was entered, epoch ms; -1 if there is none. Earlier shots are not entered."""
    states: Mapping[DeviceFeature, bytes] = field(default_factory=dict)
    """What the detector keeps of each statistic (`shotwatch_detector.level_states`)."""
    shifts: tuple[LevelShift, ...] = ()
    """The last REMEMBERED shifts: a batch that is delivered or judged again finds its own among them."""

    def after(
        self, until: int, states: Mapping[DeviceFeature, bytes], shifts: Sequence[LevelShift]
    ) -> "SeriesLevels":
        """Return the next version: the levels after some shots, with the shifts that they show."""
        return replace(
            self,
            version=self.version + 1,
            until=until,
            states=states,
            shifts=(*self.shifts, *shifts)[-REMEMBERED:],
        )
