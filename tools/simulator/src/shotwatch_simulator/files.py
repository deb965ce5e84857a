"""The snapshot files: which file holds which pulses of which device, and its name."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from shotwatch_shots.facility import ExpectedDevices, Facility, Interval
from shotwatch_shots.pulses import Times, epoch_ms, instant

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Recorder:
    """A recorder of one device at an interval."""

    group: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One recorder's file: the pulses of its device from `starts_at` on."""

    name: str
    group: str
    interval: Interval
    starts_at: int
    """Epoch ms."""
    length_ms: int

    @property
    def pulses(self) -> Times:
        """Return the pulses of the interval's grid that lie in the file (epoch ms)."""
        period = self.interval.period_ms
        first, end = (-(-edge // period) for edge in (self.starts_at, self.starts_at + self.length_ms))
        return np.arange(first, end, dtype=np.int64) * period


def recorders(facility: Facility, all_expected: Iterable[ExpectedDevices]) -> tuple[Recorder, ...]:
    """Return the recorders of these places: one per device."""
    return tuple(
        Recorder(group, facility.interval(expected.interval))
        for expected in all_expected
        for group in expected.devices
    )


def snapshot_files(
    recorders: Iterable[Recorder], start: datetime, duration: timedelta, length: timedelta = MINUTE
) -> tuple[SnapshotFile, ...]:
    """Return the files of these recorders, in the order in which a control system would close them.

    Each recorder has a file for every `length` from `start` on, unless no pulse lies in it.
    """
    recorders = tuple(recorders)
    files = (
        SnapshotFile(
            _name(recorder, starts_at, length), recorder.group, recorder.interval, starts_at, length_ms
        )
        for starts_at, length_ms in _stretches(epoch_ms(start), _ms(duration), _ms(length))
        for recorder in recorders
    )
    return tuple(file for file in files if len(file.pulses))


def _stretches(start: int, duration: int, length: int) -> Iterator[tuple[int, int]]:
    end = start + duration
    for starts_at in range(start, end, length):
        yield starts_at, min(length, end - starts_at)


def _name(recorder: Recorder, starts_at: int, length: timedelta) -> str:
    """Return `LA_A1-11-Camera-1-Camera-1_100ms_snapshot_2022-07-01_07-33-00.h5`.

    The time in a name is in whole seconds. Files shorter than a second have their milliseconds in the
    recorder's name.
    """
    frontend, _, device = recorder.group.partition("_")
    name = device.replace("_", "-")
    if length < timedelta(seconds=1):
        name += f"-{starts_at % 1000:03d}"
    return f"{frontend}_{name}_{recorder.interval.name}_snapshot_{instant(starts_at):%Y-%m-%d_%H-%M-%S}.h5"


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)
