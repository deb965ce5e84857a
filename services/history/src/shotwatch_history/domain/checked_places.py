"""When a place has enough new data to be checked again for what changes over hours."""

from shotwatch_shots.place import ShotSeries

ENOUGH_MS = 600_000
"""Length of new data, in ms, after which a place that records is checked again."""


class CheckedPlaces:
    """The record of what was checked of each place, by the time of its newest record (epoch ms).

    A check reads the data of hours, so it is not repeated for each minute of new data. A place that has
    stopped recording is checked once more, at its end.
    """

    def __init__(self) -> None:
        self._seen: dict[ShotSeries, int] = {}
        self._checked: dict[ShotSeries, int] = {}

    def is_due(self, series: ShotSeries, newest: int) -> bool:
        """Return whether to check a place now; call it once in each round."""
        has_stopped = self._seen.get(series) == newest
        self._seen[series] = newest
        checked = self._checked.get(series)
        return checked is None or abs(newest - checked) >= ENOUGH_MS or (has_stopped and newest != checked)

    def checked(self, series: ShotSeries, newest: int) -> None:
        """Record that a place was checked up to its newest record."""
        self._checked[series] = newest
