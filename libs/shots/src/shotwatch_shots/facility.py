"""The facility as configuration: file names, groups, devices, datasets, places and intervals.

Everything that is specific to one laser facility is read from one YAML file into the frozen dataclasses
below; see `facility_parsing`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import takewhile

from pydantic import ConfigDict

from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.durations import DAY_MS, duration_ms, time_of_day_ms
from shotwatch_shots.place import NO_LEVEL, Place, ShotSeries

_STRICT = ConfigDict(extra="forbid")


class FacilityError(ValueError):
    """The facility file is invalid, or lacks a kind of device that is needed.

    If it is invalid, the message names the file, the line and what is expected there.
    """


@dataclass(frozen=True, slots=True)
class Interval:
    """The sampling period of a recorder, with the lateness and the tolerance of its join."""

    __pydantic_config__ = _STRICT

    name: str
    lateness_s: float
    """Time after the first member's arrival at which a shot closes, even if members are missing (s)."""
    tolerance_ms: int
    """Maximum distance (ms) of a record from its pulse; records further away belong to no pulse."""

    @property
    def period_ms(self) -> int:
        """Time between two pulses (ms)."""
        return duration_ms(self.name)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of a group: its name, shape (empty for a scalar or the first element), range and unit."""

    __pydantic_config__ = _STRICT

    name: str
    unit: str
    range: tuple[float, float]
    shape: tuple[int, ...] = ()
    wavelengths: tuple[float, float] | None = None
    """Wavelengths of a spectrum's first and last sample (nm), if known; the samples are evenly spaced."""


@dataclass(frozen=True, slots=True)
class DeviceType:
    """A family of devices: the words that identify it in a group name, and its datasets."""

    __pydantic_config__ = _STRICT

    name: str
    words: tuple[str, ...]
    kind: DeviceKind = DeviceKind.OTHER
    datasets: tuple[Dataset, ...] = ()


@dataclass(frozen=True, slots=True)
class FramePolicy:
    """Limits beyond which a camera frame counts as black or saturated."""

    __pydantic_config__ = _STRICT

    black_below: float
    """A frame whose brightest pixel is below this (counts) is black."""
    saturated_at: int
    """A pixel at or above this (counts) is saturated."""
    saturated_share: float
    """A frame with a larger fraction of saturated pixels than this (0..1) is saturated."""


@dataclass(frozen=True, slots=True)
class StatePolicy:
    """The dataset that holds a device's state, and which states count as working or as broken."""

    __pydantic_config__ = _STRICT

    dataset: str
    on: str
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The naming and structure of files of one kind.

    `file_name` is a regular expression. The layout uses its groups `recorder`, `interval`, `date`, `time` and
    the outermost levels of places. `arrangement` is `timestamps` for `/{timestamp}/{group}/{dataset}` and
    `images` for `/IMAGES/DTG_{id}/{image}`.
    """

    __pydantic_config__ = _STRICT

    name: str
    arrangement: str
    file_name: str
    length_s: float
    """Length of time that a file covers, from the time in its name (s)."""
    margin_s: float = 0.0
    """How much earlier or later than that a record of the file may be (s)."""
    interval: str | None = None
    """The interval of files whose name does not contain one."""


@dataclass(frozen=True, slots=True)
class ExpectedDevices:
    """The expected devices of one place at one interval."""

    __pydantic_config__ = _STRICT

    place: Place
    interval: str
    devices: tuple[str, ...]
    """Group names of the devices."""

    @property
    def series(self) -> ShotSeries:
        return ShotSeries(place=self.place, interval=self.interval)


@dataclass(frozen=True, slots=True)
class Device:
    """The content of a group name: the place, the family and the kind of the device."""

    group: str
    place: Place
    type: str
    kind: DeviceKind


@dataclass(frozen=True, slots=True)
class FileName:
    """The content of a file's name, from the object's key."""

    layout: Layout
    area: Place | None
    """The area of its devices; None if the name does not contain it."""
    recorder: str
    interval: str
    starts_at: datetime
    """UTC; midnight for a layout with one file per day."""

    @property
    def span_ms(self) -> tuple[int, int]:
        """The earliest and the latest time (epoch ms) that a record of the file may have."""
        start, length, margin = self._start_ms, _ms(self.layout.length_s), _ms(self.layout.margin_s)
        return start - margin, start + length + margin

    def record_time_ms(self, timestamp: str) -> int:
        """Return the time of a record (epoch ms) from its time of day, `HH-MM-SS-mmm`.

        The day is the one on which the record is nearest to the middle of the time that the file covers,
        because a file may begin just before midnight, or run past it.

        Raises:
            ValueError: the timestamp is not such a time of day.
        """
        middle = self._start_ms + _ms(self.layout.length_s) // 2
        return middle + (time_of_day_ms(timestamp) - middle + DAY_MS // 2) % DAY_MS - DAY_MS // 2

    @property
    def _start_ms(self) -> int:
        return _ms(self.starts_at.timestamp())


@dataclass(frozen=True)
class Facility:
    """One facility. Times in its files are read as UTC."""

    __pydantic_config__ = _STRICT

    name: str
    first_day: date
    """No record is older than this day."""
    clock_skew_s: float
    """How far the clock of a recorder may be ahead of the object store's (s).

    A record that is later than its file's arrival by more than this is refused.
    """
    levels: tuple[str, ...]
    """The names of the levels of a place, the outermost first: `frontend`, `amp`, `arm`."""
    layouts: tuple[Layout, ...]
    group_name: str
    """A regular expression with a group for each level; a level that is absent has the value NO_LEVEL."""
    device_types: tuple[DeviceType, ...]
    state: StatePolicy
    frames: FramePolicy
    energy_disagreement: float
    """The two energies of a meter disagree if |energy1 - energy2| over their mean is above this (0..1)."""
    intervals: tuple[Interval, ...]
    places: tuple[ExpectedDevices, ...]
    image_groups: Mapping[str, str] = field(default_factory=dict)
    """Older layout: the group name of each `DTG_{id}`."""

    def file_name(self, key: str) -> FileName | None:
        """Parse an object's key; return None if it is not a file of the facility, which is then ignored."""
        base = key.rpartition("/")[2]
        for layout, pattern in self._file_patterns:
            if match := pattern.fullmatch(base):
                return self._file_name(layout, match.groupdict())
        return None

    def device(self, group: str) -> Device | None:
        """Parse a group name; return None if it does not contain a place of the chain."""
        match = self._group_pattern.match(group)
        if match is None:
            return None
        found = match.groupdict()
        place = Place(tuple(found.get(level) or NO_LEVEL for level in self.levels))
        family = self.device_type(group)
        return Device(group, place, family.name, family.kind)

    def device_type(self, group: str) -> DeviceType:
        """Return the first family with one of its words in the group name, or the family `Unknown`."""
        for family in self.device_types:
            if any(word in group for word in family.words):
                return family
        return DeviceType("Unknown", ())

    def interval(self, name: str) -> Interval:
        """Return the interval with that name.

        Raises:
            KeyError: the facility file does not list it.
        """
        return self._intervals[name]

    def expected_devices(self, series: ShotSeries) -> ExpectedDevices | None:
        """Return the expected devices of a series; None if the facility file does not list it."""
        return self._expected_by_series.get(series)

    def lists(self, group: str) -> bool:
        """Return whether the facility file expects a device of this group name, at any place and interval."""
        return group in self._listed

    def dataset(self, kind: DeviceKind) -> Dataset:
        """Return the first dataset of a kind of device: its image, its spectrum, its first energy.

        Raises:
            FacilityError: the facility has no devices of this kind.
        """
        for family in self.device_types:
            if family.kind is kind:
                return family.datasets[0]
        raise FacilityError(f"{self.name} has no devices of the kind {kind}")

    @cached_property
    def _file_patterns(self) -> tuple[tuple[Layout, re.Pattern[str]], ...]:
        return tuple((layout, re.compile(layout.file_name, re.ASCII)) for layout in self.layouts)

    @cached_property
    def _group_pattern(self) -> re.Pattern[str]:
        return re.compile(self.group_name)

    @cached_property
    def _intervals(self) -> dict[str, Interval]:
        return {interval.name: interval for interval in self.intervals}

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(group for expected in self.places for group in expected.devices)

    @cached_property
    def _expected_by_series(self) -> dict[ShotSeries, ExpectedDevices]:
        return {expected.series: expected for expected in self.places}

    def _file_name(self, layout: Layout, found: Mapping[str, str | None]) -> FileName | None:
        try:
            starts_at = datetime.strptime(
                f"{found['date']} {found.get('time') or '00-00-00'}", "%Y-%m-%d %H-%M-%S"
            ).replace(tzinfo=UTC)
        except ValueError:
            return None
        named = takewhile(bool, (found.get(level) for level in self.levels))
        levels = tuple(level for level in named if level)
        interval = found.get("interval") or layout.interval or ""
        return FileName(
            layout, Place(levels) if levels else None, found.get("recorder") or "", interval, starts_at
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
