"""The way of a file's records to their windows and pulses."""

from dataclasses import dataclass

import numpy as np

from shotwatch_shots.batch import Mask
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.errors import Reject
from shotwatch_shots.facility import Facility, Interval
from shotwatch_shots.pulses import assign_pulses, window_starts
from shotwatch_shots.records import MOST_WINDOWS, FileValidated, JudgedRecords, window_count
from shotwatch_shots.window import Counts, RecordSource


@dataclass(frozen=True, slots=True)
class WindowRecords:
    """The records of a device that fall into one window: one entry per record, at most one per pulse."""

    device: str
    kind: DeviceKind
    source: RecordSource
    slot: Counts
    """Index of the pulse in the window, 0 .. pulses_per_window - 1."""
    row: Counts
    """Row in the source's block."""
    verdict: Counts
    """VALID, or 1 + the index in `reasons`."""
    reasons: tuple[str, ...]
    on: Mask
    """Whether the device's state was ON."""


@dataclass(frozen=True, slots=True)
class SplitRecords:
    """The records of one device of one file, by window, and the rows that belong to no shot."""

    by_window: dict[int, WindowRecords]
    """Start of the window (epoch ms) → its records."""
    off_grid: list[int]
    """Rows further from every pulse than the join tolerance."""
    second_samples: list[int]
    """Rows whose pulse has another record of the same device that is nearer to it."""


def require_few_windows(file: FileValidated, facility: Facility) -> None:
    """Require that the records of a file lie in as few windows as ingest allows.

    Raises:
        Reject: they lie in more.
    """
    times = ((judged.series, judged.times) for judged in file.devices)
    if (count := window_count(times, facility.interval)) > MOST_WINDOWS:
        raise Reject("too_many_windows", f"{file.object.key}: has records in {count} windows")


def split(records: JudgedRecords, source: RecordSource, interval: Interval, on: str) -> SplitRecords:
    """Assign a device's records to windows and pulses; of several records at a pulse, keep the nearest.

    `on` is the facility's state of a device that works.
    """
    assigned = assign_pulses(records.times, interval)
    pulses, on_grid = assigned.pulses, assigned.on_grid
    distance = np.where(on_grid, assigned.distance, np.iinfo(np.int64).max)
    # Sorted by pulse, then by distance: the first record of each pulse is the nearest one.
    nearest_first = np.lexsort((distance, pulses))
    _, first = np.unique(pulses[nearest_first], return_index=True)
    kept = np.sort(nearest_first[first])
    kept = kept[on_grid[kept]]
    starts = window_starts(pulses, interval)
    verdict, is_on = records.verdict.astype(np.int32), records.of_state(on)
    by_window = {}
    for start in np.unique(starts[kept]):
        rows = kept[starts[kept] == start]
        slot = ((pulses[rows] - start) // interval.period_ms).astype(np.int32)
        by_window[int(start)] = WindowRecords(
            records.device,
            records.kind,
            source,
            slot,
            rows.astype(np.int32),
            verdict[rows],
            tuple(records.reasons),
            is_on[rows],
        )
    dropped = np.setdiff1d(np.arange(len(pulses)), kept)
    return SplitRecords(by_window, dropped[~on_grid[dropped]].tolist(), dropped[on_grid[dropped]].tolist())


def nothing_of(device: str, kind: DeviceKind, source: RecordSource) -> WindowRecords:
    """Return the empty entry of a file for a window in which the file no longer has records of the device."""
    nothing = np.empty(0, np.int32)
    return WindowRecords(device, kind, source, nothing, nothing, nothing, (), np.empty(0, bool))
