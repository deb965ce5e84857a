"""The arithmetic of the whole-facility bench: when minutes are uploaded, what waits, and how long it takes.

Times are seconds since the epoch unless their name ends in `_ms`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

MINUTE_S = 60.0

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def parse_pace(text: str) -> float:
    """Parse the pace: facility minutes per minute, or `max` (infinity).

    Raises:
        ValueError: the text is neither a positive number nor `max`.
    """
    pace = inf if text == "max" else float(text)
    if not pace > 0:
        raise ValueError(f"{text} is neither a positive number nor max")
    return pace


def due_s(number: int, pace: float) -> float:
    """Return when the upload of a minute is due: seconds after the first one, whose number is 0."""
    return number * MINUTE_S / pace


@dataclass(frozen=True, slots=True)
class UploadedMinute:
    """A facility minute that was uploaded."""

    start_ms: int
    """Facility time of its first pulse, epoch ms."""
    shots: int
    """Number of shots that its files hold."""
    size: int
    """Bytes of all its files."""
    began: float
    arrived: Mapping[str, float]
    """When each of its files had arrived in the store, by key."""

    @property
    def ended(self) -> float:
        """When its last file had arrived."""
        return max(self.arrived.values())


@dataclass(frozen=True, slots=True)
class ShotTimes:
    """The times at which n judged shots were closed and judged: (n,) each."""

    pulses_ms: NDArray[np.int64]
    closed: Floats
    judged: Floats


@dataclass(frozen=True, slots=True)
class SingleShot:
    """A shot whose files hold this shot alone, uploaded beside the minutes."""

    uploaded: float
    """When its last file had arrived in the store."""
    raised: float | None
    """When its event reached a subscriber; None if it did not."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from the end of the upload of single shots to their events; None if there was no event."""

    shots: int
    raised: int
    p50: float | None
    p99: float | None
    longest: float | None


def delays(shots: Sequence[SingleShot], start: float = -inf, end: float = inf) -> Delays:
    """Return the delays of the shots that were uploaded in [start, end)."""
    chosen = [shot for shot in shots if start <= shot.uploaded < end]
    found = [shot.raised - shot.uploaded for shot in chosen if shot.raised is not None]
    if not found:
        return Delays(len(chosen), 0, None, None, None)
    p50, p99 = np.percentile(found, (50, 99))
    return Delays(len(chosen), len(found), float(p50), float(p99), max(found))


def waiting(begins: Floats, ends: Floats, times: Floats) -> Counts:
    """Return how many items wait at each of these times.

    An item waits from its entry in `begins` until its entry in `ends`, infinity if it still waits.
    """
    begun = np.searchsorted(np.sort(begins), times, side="right")
    return begun - np.searchsorted(np.sort(ends), times, side="right")


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of items that waited at each of n times: (n,) each."""

    times: Floats
    files: Counts
    """Files in the store whose records were not joined yet."""
    shots: Counts
    """Shots that were closed and not judged yet."""


def backlog(
    minutes: Sequence[UploadedMinute], joined: Mapping[str, float], shots: ShotTimes, times: Sequence[float]
) -> Backlog:
    """Return the backlog of the minutes at these times.

    Args:
        minutes: the uploaded minutes.
        joined: key → when the records of the file were joined; a file that is not in it waits for ever.
        shots: the shots of the minutes.
        times: the times to report.
    """
    arrived = {key: at for minute in minutes for key, at in minute.arrived.items()}
    begins = np.array(list(arrived.values()))
    # The database's clock has milliseconds, and a small file may be joined before its upload has returned.
    ends = np.array([max(joined.get(key, inf), at) for key, at in arrived.items()])
    at = np.asarray(times, np.float64)
    return Backlog(at, waiting(begins, ends, at), waiting(shots.closed, shots.judged, at))


def judged_after_s(minute: UploadedMinute, shots: ShotTimes) -> float:
    """Return the seconds from the end of a minute's upload to the judgement of its last shot."""
    of_minute = (shots.pulses_ms >= minute.start_ms) & (shots.pulses_ms < minute.start_ms + MINUTE_S * 1000)
    return float(shots.judged[of_minute].max()) - minute.ended


def slots(minutes: Sequence[UploadedMinute], end: float) -> list[tuple[float, float]]:
    """Return the time of each minute: from the begin of its upload to that of the next one, or to `end`."""
    begins = [minute.began for minute in minutes]
    return list(zip(begins, [*begins[1:], end], strict=True))
