"""Times as arguments: aware of their time zone, and sent as epoch milliseconds."""

from datetime import UTC, date, datetime, time, timedelta

from shotwatch_client.errors import InvalidArgument

Time = datetime | str
"""A datetime or `pandas.Timestamp` with a time zone, or RFC 3339 text such as `2022-07-01T07:33:00Z`."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_ms(value: Time, name: str) -> int:
    """Return a time as epoch ms, rounded up: shots have whole milliseconds, so no comparison changes.

    Args:
        value: the time.
        name: the argument that it came from; errors name it.

    Raises:
        InvalidArgument: it is not a time, or has no time zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidArgument(name, f"{value!r} is not a time", "Write 2022-07-01T07:33:00Z") from error
    if not isinstance(moment, datetime):
        raise InvalidArgument(name, f"{value!r} is neither a datetime nor a text")
    if moment.tzinfo is None:
        raise InvalidArgument(
            name, f"{value} has no time zone", "Add one: datetime(…, tzinfo=UTC), or a Z at the end of a text"
        )
    return -int((EPOCH - moment) // timedelta(microseconds=1) // 1000)


def optional_ms(value: Time | None, name: str) -> int | None:
    """Return a time as epoch ms; None if none is given. Raises as `epoch_ms` does."""
    return None if value is None else epoch_ms(value, name)


def span_ms(start: Time, end: Time) -> tuple[int, int]:
    """Return start and end as epoch ms.

    Raises:
        InvalidArgument: one of them is not a time, or the end is not after the start.
    """
    span = epoch_ms(start, "start"), epoch_ms(end, "end")
    if span[1] <= span[0]:
        raise InvalidArgument("end", f"{end} is not after {start}")
    return span


def day_ms(day: date) -> tuple[int, int]:
    """Return start and end of a day in UTC as epoch ms."""
    start = datetime.combine(day, time(), UTC)
    return span_ms(start, start + timedelta(days=1))


def instant(milliseconds: int) -> datetime:
    """Return epoch ms as a datetime in UTC."""
    return EPOCH + timedelta(milliseconds=milliseconds)
