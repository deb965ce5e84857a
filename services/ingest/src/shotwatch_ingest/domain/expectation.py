"""The limits that the facility file sets for a snapshot file: its devices, their times, and how many records.

Nothing inside a file can extend these limits. Parts beyond them are skipped.
"""

from datetime import UTC, datetime, time

import numpy as np

from shotwatch_ingest.domain.hdf5.image import shown
from shotwatch_shots.errors import Reject
from shotwatch_shots.facility import Device, Facility, FileName
from shotwatch_shots.place import Place, ShotSeries
from shotwatch_shots.vocabulary import FileReason, SkipReason

MAX_NAME_BYTES = 255
"""Maximum length of a name in a file, as in file systems."""
MAX_UNEXPECTED_DEVICES = 16
"""Maximum number of devices in a file that the facility file does not expect at their place and interval."""
_SPARE_RECORDS = 8


class Skip(Exception):
    """A reason to skip a part of the file."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Expectation:
    """The devices, times and number of records that one file may hold.

    A file may hold any kind of device of its frontend, whatever recorder its name gives, because the facility
    file lists no recorders. A recorder's file holds several devices: in the report RST-2.3, a file of a 60 s
    recorder takes 148 kB on average. It holds a record or two of each device, and a frame takes 26 kB at
    most. The report lists groups of cameras and of energy meters in one file.

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
        """Per device: twice the pulses in the span, because recorders write some records twice."""

    def device(self, name: bytes) -> Device:
        """Return the device that the name of a group denotes; count it if it is unexpected.

        Raises:
            Skip: BAD_NAME, NO_DEVICE, FOREIGN_DEVICE or UNEXPECTED_DEVICE.
        """
        group = _text(name)
        device = self._facility.device(self._facility.image_groups.get(group, group))
        if device is None:
            raise Skip(SkipReason.NO_DEVICE, "names no place of the facility")
        area = self._name.area
        if area is not None and not device.place.is_within(area):
            raise Skip(SkipReason.FOREIGN_DEVICE, f"does not belong to {area}, as the file does")
        if device.group not in self._expected_at(device.place):
            self._count_unexpected(device)
        return device

    def time(self, name: bytes) -> int:
        """Return the time (epoch ms) that the name of a timestamp denotes.

        Raises:
            Skip: BAD_NAME or NOT_A_TIME.
        """
        text = _text(name)
        try:
            return self._name.record_time_ms(text)
        except ValueError:
            raise Skip(SkipReason.NOT_A_TIME, "is not a time of day such as 07-33-00-125") from None

    def require_time(self, time_ms: int) -> None:
        """Skip records outside the file's span, before the facility's first day, or after the arrival.

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
            expected = self._facility.expected_devices(ShotSeries(place=place, interval=self._name.interval))
            self._expected[place] = frozenset(expected.devices if expected else ())
        return self._expected[place]

    def _count_unexpected(self, device: Device) -> None:
        if len(self._unexpected) == MAX_UNEXPECTED_DEVICES:
            raise Skip(
                SkipReason.UNEXPECTED_DEVICE,
                f"is not expected at {device.place}, nor are {MAX_UNEXPECTED_DEVICES} devices before it",
            )
        self._unexpected.add(device.group)


def _text(name: bytes) -> str:
    """Return a name that is safe in a path, a key and a message.

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
    """Return the time as text, also beyond the year 9999, where datetime ends."""
    return f"{np.datetime64(time_ms, 'ms')}Z"
