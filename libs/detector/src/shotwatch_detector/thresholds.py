"""The facility's budget of false alarms, and the share of it that each series has.

People watch the whole facility, so the budget is the number of false alarms an hour of all series together.
Each series of the facility file has an equal share of it, and so has each question of a series (`columns`). A
slow series has fewer shots for its share, so its threshold is lower: one false alarm in 15 hours is one in
540,000 shots at 10 Hz, and one in 900 shots at one a minute.
"""

from dataclasses import dataclass

import numpy as np

from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import ShotSeries

SHOTS_PER_HOUR = 36_000
"""At 10 Hz."""


@dataclass(frozen=True, slots=True)
class Share:
    """The false alarms that one series may raise."""

    per_hour: float
    """> 0; of all its questions together."""
    shots_per_hour: float = SHOTS_PER_HOUR
    """While the laser fires at the period of the series."""

    @property
    def threshold(self) -> float:
        """The score that normal shots exceed this often, ≥ 0."""
        return float(max(0.0, np.log10(self.shots_per_hour / self.per_hour)))

    def per_hour_of(self, score: float) -> float:
        """Return how often in an hour normal shots have a higher score than this."""
        return float(self.shots_per_hour / 10**score)


ONE_AN_HOUR = Share(1.0)
"""One false alarm an hour, at 10 Hz."""


def share_of(series: ShotSeries, facility: Facility, per_hour: float) -> Share:
    """Return the share of a series in the facility's false alarms an hour.

    Raises:
        KeyError: the facility file does not list the interval.
    """
    shots = HOUR_MS / facility.interval(series.interval).period_ms
    return Share(per_hour / max(1, len(facility.places)), shots)
