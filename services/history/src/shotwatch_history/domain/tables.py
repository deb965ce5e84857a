"""Which hours of which places a change concerns, and when they are written."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from shotwatch_shots.batch import CompletedBatch
from shotwatch_shots.durations import HOUR_MS
from shotwatch_shots.facility import Facility
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.pulses import window_length_ms, window_start
from shotwatch_tables.manifest import hour_start

CLOSING_MS = 180_000
"""Time (ms) after its end at which an hour is closed: a file of a minute, its lateness, its processing."""


def is_closed(hour: int, now: int) -> bool:
    """Return whether no more shots of an hour are expected (both epoch ms)."""
    return hour + HOUR_MS + CLOSING_MS <= now


def changed_hours(
    completed: Iterable[CompletedBatch], facility: Facility
) -> Mapping[tuple[Place, int], Sequence[CompletedBatch]]:
    """Return place and hour (epoch ms) → those of the batches whose window lies in it, at least in part.

    Batches of series that the facility file does not list have no table.
    """
    hours: dict[tuple[Place, int], list[CompletedBatch]] = defaultdict(list)
    for batch in completed:
        series = series_of(batch.window)
        if facility.expected_devices(series) is None:
            continue
        start, end = window_span(batch.window, facility)
        for hour in range(hour_start(start), end, HOUR_MS):
            hours[series.place, hour].append(batch)
    return hours


def series_of(window: str) -> ShotSeries:
    """Return the series of a window, from its id."""
    return ShotSeries.parse(window.rpartition("-")[0])


def window_span(window: str, facility: Facility) -> tuple[int, int]:
    """Return start and end of a window (epoch ms) from its id.

    Raises:
        KeyError: the facility file does not list its interval.
    """
    start = window_start(window)
    return start, start + window_length_ms(facility.interval(series_of(window).interval))
