"""Durations and times of day as text, in milliseconds."""

import re

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_DURATION = re.compile(r"(?P<number>\d+)(?P<unit>ms|s)")


def duration_ms(text: str) -> int:
    """Convert `100ms`, `1s` or `60s` to milliseconds.

    Raises:
        ValueError: the text has another form, or the duration is zero.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not int(match["number"]):
        raise ValueError(f"{text!r} is not a duration such as 100ms or 60s")
    return int(match["number"]) * (1 if match["unit"] == "ms" else 1000)


def time_of_day_ms(timestamp: str) -> int:
    """Convert a time of day, `HH-MM-SS-mmm`, to milliseconds since midnight.

    Raises:
        ValueError: the text has another form, or is not a time of day.
    """
    match = re.fullmatch(r"(\d{2})-(\d{2})-(\d{2})-(\d{3})", timestamp, re.ASCII)
    if match is None:
        raise ValueError(f"{timestamp!r} is not a time of day such as 07-33-00-125")
    hours, minutes, seconds, milliseconds = (int(part) for part in match.groups())
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{timestamp!r} is not a time of day")
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
