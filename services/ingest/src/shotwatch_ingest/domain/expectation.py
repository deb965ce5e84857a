"""What the facility file lets a snapshot file hold: which devices, at which times, and how many records.

Nothing that a file says about itself inside enlarges this. What lies beyond it is passed over.
"""

from datetime import UTC, datetime, time

import numpy as np

from shotwatch_ingest.domain.hdf5 import shown
from shotwatch_shots.errors import Reject
from shotwatch_shots.facility import Device, Facility, FileName
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.vocabulary import FileReason, SkipReason

MAX_NAME_BYTES = 255
"""Of a name in a file, as file systems bound it."""
MAX_UNEXPECTED_DEVICES = 16
"""Devices of a file that the facility file does not expect at their place and interval, and that are read."""
_SPARE_RECORDS = 8


class Skip(Exception):
    """A part of the file is passed over."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Expectation:
    """The devices, times and number of records that one file may hold.

    `latest_ms` (epoch ms) is the latest time of a record that the file's arrival allows.

    Raises:
        Reject: UNKNOWN_INTERVAL.
    """

    def __init__(self, key: str, name: FileName, facility: Facility, latest_ms: int) -> None:
        self._name = name
        self._facility = facility
        self._span = name.span_ms
        first_moment = datetime.combine(facility.first_day, time.min, UTC)
        self._possible = round(first_moment.timestamp() * 1000), latest_ms
        self._expected: dict[Place, frozenset[str]] = {}
        self._unexpected: set[str] = set()
        self.max_records = 2 * self._pulses(key) + _SPARE_RECORDS
        """Of one device: twice the pulses in the span, as recorders write some records twice."""

    def device(self, name: bytes) -> Device:
        """Return the device that a group's name stands for; it counts if it is an unexpected one.

        Raises:
            Skip: BAD_NAME, NO_DEVICE, FOREIGN_DEVICE or UNEXPECTED_DEVICE.
        """
        group = _text(name)
        device = self._facility.device(self._facility.image_groups.get(group, group))
        if device is None:
            raise Skip(SkipReason.NO_DEVICE, "names no place of the facility")
        area = self._name.area
        if area is not None and not device.place.is_within(area):
            raise Skip(SkipReason.FOREIGN_DEVICE, f"is no device of {area}, as the file is")
        if device.group not in self._expected_at(device.place):
            self._count_unexpected(device)
        return device

    def time(self, name: bytes) -> int:
        """Return the time (epoch ms) that the name of a timestamp stands for.

        Raises:
            Skip: BAD_NAME or NOT_A_TIME.
        """
        text = _text(name)
        try:
            return self._name.record_time_ms(text)
        except ValueError:
            raise Skip(SkipReason.NOT_A_TIME, "is not a time of day such as 07-33-00-125") from None

    def require_time(self, time_ms: int) -> None:
        """Pass over records outside the file's span, before the facility's first day or after the arrival.

        Raises:
            Skip: OUTSIDE_SPAN or IMPOSSIBLE_TIME.
        """
        start, end = self._span
        if not start <= time_ms <= end:
            raise Skip(
                SkipReason.OUTSIDE_SPAN,
                f"at {_utc(time_ms)}, the file covers {_utc(start)} to {_utc(end)}",
            )
        first, latest = self._possible
        if time_ms < first:
            raise Skip(
                SkipReason.IMPOSSIBLE_TIME,
                f"at {_utc(time_ms)}, before the facility's first day",
            )
        if time_ms > latest:
            raise Skip(
                SkipReason.IMPOSSIBLE_TIME,
                f"at {_utc(time_ms)}, later than the file's arrival and the clock skew allow: {_utc(latest)}",
            )

    def _pulses(self, key: str) -> int:
        try:
            period = self._facility.interval(self._name.interval).period_ms
        except KeyError:
            listed = ", ".join(interval.name for interval in self._facility.intervals)
            raise Reject(
                FileReason.UNKNOWN_INTERVAL,
                f"{key}: the facility file lists no interval {self._name.interval}, but {listed}",
            ) from None
        start, end = self._span
        return -(-(end - start) // period)

    def _expected_at(self, place: Place) -> frozenset[str]:
        if place not in self._expected:
            roster = self._facility.roster(ShotSeries(place=place, interval=self._name.interval))
            self._expected[place] = frozenset(roster.devices if roster else ())
        return self._expected[place]

    def _count_unexpected(self, device: Device) -> None:
        if len(self._unexpected) == MAX_UNEXPECTED_DEVICES:
            raise Skip(
                SkipReason.UNEXPECTED_DEVICE,
                f"is not expected at {device.place}, nor are {MAX_UNEXPECTED_DEVICES} devices before it",
            )
        self._unexpected.add(device.group)


def _text(name: bytes) -> str:
    """Return a name that can be part of a path, a key and a message as it is.

    Raises:
        Skip: BAD_NAME.
    """
    problem = None
    try:
        text = name.decode()
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    else:
        if len(name) > MAX_NAME_BYTES:
            problem = f"is longer than {MAX_NAME_BYTES} bytes"
        elif "/" in text or text in (".", ".."):
            problem = "would be read as a path"
        elif not text.isprintable():
            problem = "holds control or bidirectional characters"
    if problem:
        raise Skip(SkipReason.BAD_NAME, f"the name {shown(name)} {problem}")
    return text


def _utc(time_ms: int) -> str:
    """A time beyond the year 9999 too, which datetime does not reach."""
    return f"{np.datetime64(time_ms, 'ms')}Z"
