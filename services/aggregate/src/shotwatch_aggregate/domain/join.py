"""The join: add records to their windows, and close the shots of windows.

The result does not depend on the order in which files arrive, on repeated delivery, or on which replica does
the work. The pulse of a record follows from its own file alone, and a newer object replaces an older one. A
closed shot is closed again only when its records have changed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shotwatch_aggregate.domain.split import WindowRecords
from shotwatch_shots.batch import ABSENT, Mask, ShotBatch
from shotwatch_shots.device_kinds import DATA_KINDS, DeviceKind
from shotwatch_shots.records import VALID, reason_code
from shotwatch_shots.window import Counts, DeviceColumns, RecordSource, UnusedSource, Window

Value = TypeVar("Value", bound=np.generic)

MOST_UNEXPECTED = 16
"""Maximum number of unexpected devices (not listed for the place) in a window; the first are kept."""
MOST_SOURCE_BYTES = 384 << 10
"""Maximum size of the file entries of one device in a window's document, in bytes.

A recorder writes one file per minute, or one per shot. 600 such files fit, or 99 with the longest names that
an object store accepts. A database document holds 16 MiB at most. `_with_room` decides which files give way.
"""


@dataclass(frozen=True, slots=True)
class Closing:
    """The shots of a window that close together; `slots` are the indices of their pulses."""

    window: Window
    slots: NDArray[np.intp]


def takes(window: Window, device: str, expected: Collection[str]) -> bool:
    """Return whether the window takes a device: it is expected, present, or one of few unexpected ones."""
    unexpected = window.devices.keys() - set(expected)
    return device in expected or device in unexpected or len(unexpected) < MOST_UNEXPECTED


def admit(window: Window, records: WindowRecords) -> Window:
    """Return the window with the records of a device added; shots that changed are open again.

    Sources for which it has no room (`_with_room`) are not in it; they are added to its unused sources.
    """
    before = window.devices.get(records.device) or DeviceColumns.empty(records.kind, len(window.revision))
    if _knows_newer(before, records.source):
        return window
    others = _without_object(before, records.source.block.object_key)
    overlaid = _overlay(others, records)
    columns = _with_room(others, overlaid)
    unused = _left_out(records.device, overlaid, columns)
    return replace(window.with_device(records.device, columns), unused=(*window.unused, *unused))


def retract(window: Window, object_key: str, keep: Collection[str], arrived_at: int) -> Window:
    """Return the window without the records of an older version of a file whose devices are not in `keep`."""
    for device, columns in window.devices.items():
        stale = any(s.block.object_key == object_key and s.arrived_at < arrived_at for s in columns.sources)
        if stale and device not in keep:
            window = window.with_device(device, _without_object(columns, object_key))
    return window


def due_shots(before: Window, after: Window, expected: Collection[str]) -> Mask:
    """Return the pulses whose shots are to be closed now: a mask over the pulses of the window.

    A shot closes once nothing more is expected from any of its expected devices (`DeviceColumns.final`). A
    closed shot closes again whenever its records change.
    """
    which: Mask = (after.open & _all_final(after, expected)) | _changed_since_closed(before, after)
    return which


def close(window: Window, which: Mask) -> tuple[Window, Closing | None]:
    """Close these shots at their next revision; the batch is None if none of them exists."""
    which = which & window.occupied
    if not which.any():
        return window, None
    closed = replace(window, revision=window.revision + which.astype(np.int32))
    return closed, Closing(closed, np.flatnonzero(which))


def close_due(window: Window) -> tuple[Window, Closing | None]:
    """Close the open shots; if the window was requested again, close its closed shots once more instead."""
    if window.again:
        return close(replace(window, again=False), window.revision > 0)
    return close(window, window.open)


def complete(window: Window, expected: Mapping[str, DeviceKind]) -> Mask:
    """Return the pulses at which every kind of device of the place has a valid record."""
    known = {device: columns.kind for device, columns in window.devices.items()}
    kinds = {kind for kind in (expected or known).values() if kind in DATA_KINDS}
    there = np.ones(len(window.revision), bool)
    for kind in kinds:
        valid = [columns.valid for columns in window.devices.values() if columns.kind is kind]
        there &= np.logical_or.reduce(valid) if valid else False
    return there


def without_record_before(closing: Closing, expected: Collection[str]) -> list[str]:
    """Return the expected devices without a record up to and including the first shot of the closing shots.

    Whether such a device was ON at that shot is known only from before the window.
    """
    known, first = closing.window.devices, closing.slots[0]
    return [d for d in expected if d not in known or not known[d].present[: first + 1].any()]


def batch_of(
    closing: Closing, expected: Mapping[str, DeviceKind], on_before: Collection[str], last_arrival: int
) -> ShotBatch:
    """Return the batch of the closing shots; `on_before`: devices that were ON before this window.

    A device that is not expected is missing from no shot: where it has no record, it does not count as ON.
    """
    window, slots = closing.window, closing.slots
    absent = {
        device: DeviceColumns.empty(kind, len(window.revision))
        for device, kind in expected.items()
        if device not in window.devices
    }
    devices = {**window.devices, **absent}
    return ShotBatch(
        batch_id=f"{window.id}-{window.version}",
        window_id=window.id,
        series=window.series,
        pulses=window.pulses[slots],
        revisions=window.revision[slots],
        complete=complete(window, expected)[slots],
        members=[
            columns.member(
                device,
                slots,
                columns.last_known_on(device in on_before) if device in expected else columns.on,
            )
            for device, columns in sorted(devices.items())
        ],
        last_arrival=last_arrival,
    )


def _changed_since_closed(before: Window, after: Window) -> Mask:
    closed = np.flatnonzero(after.revision)
    changed = np.zeros(len(after.revision), bool)
    for device, columns in after.devices.items():
        known = before.devices.get(device) or DeviceColumns.empty(columns.kind, len(after.revision))
        if columns is not known:
            changed[columns.differs_from(known, closed)] = True
    return changed


def _all_final(window: Window, expected: Collection[str]) -> Mask:
    """Return the pulses at which nothing more is expected; none if the expected devices are unknown.

    Shots of a place without a list of expected devices wait for their deadline.
    """
    if not expected or any(device not in window.devices for device in expected):
        return np.zeros(len(window.revision), bool)
    final: Mask = np.logical_and.reduce([window.devices[device].final() for device in expected])
    return final


def _knows_newer(columns: DeviceColumns, source: RecordSource) -> bool:
    same_file = (s for s in columns.sources if s.block.object_key == source.block.object_key)
    return any(s.order >= source.order for s in same_file)


def _without_object(columns: DeviceColumns, object_key: str) -> DeviceColumns:
    gone = [n for n, source in enumerate(columns.sources) if source.block.object_key == object_key]
    return _without_sources(columns, gone)


def _without_sources(columns: DeviceColumns, gone: Sequence[int]) -> DeviceColumns:
    """Return the columns without the sources with these indices, and without their records."""
    if not gone:
        return columns
    cleared = np.isin(columns.source, gone)
    kept = [n for n in range(len(columns.sources)) if n not in gone]
    # Old index of a source → new one. The last entry is for ABSENT, which is -1 and stays.
    renumbered = np.full(len(columns.sources) + 1, ABSENT, np.int32)
    renumbered[kept] = np.arange(len(kept))
    left = replace(
        columns,
        source=np.where(cleared, ABSENT, renumbered[columns.source]).astype(np.int32),
        row=np.where(cleared, 0, columns.row).astype(np.int32),
        verdict=np.where(cleared, 0, columns.verdict).astype(np.int32),
        on=columns.on & ~cleared,
        sources=tuple(columns.sources[n] for n in kept),
    )
    return _without_unused_reasons(left)


def _with_room(others: DeviceColumns, overlaid: DeviceColumns) -> DeviceColumns:
    """Return the columns within MOST_SOURCE_BYTES; `overlaid` is `others` with one more source.

    Sources without a used record give way first. Of the others, each has an equal share for each pulse of the
    window. At a pulse only one source has its record used. So sources within their share always fit together,
    however many files arrive, and none of them ever gives way. A source is larger than its share only if its
    names are long (a key of more than 70 characters at 600 pulses; no key at 60 pulses). Of these, the source
    with the fewest used records gives way first, of two the later one. So files with few records each cannot
    keep out a file that holds the minute. If the source that arrives has to give way, nothing changes.
    """
    if _stored_bytes(overlaid) <= MOST_SOURCE_BYTES:
        return overlaid
    used = _used_records(overlaid)
    needed = _without_sources(overlaid, np.flatnonzero(used == 0).tolist())
    gone = _giving_way(needed)
    arriving = overlaid.sources[-1]
    return others if arriving in [needed.sources[n] for n in gone] else _without_sources(needed, gone)


def _giving_way(columns: DeviceColumns) -> list[int]:
    """Return the indices of the sources that are larger than their share and too many (`_with_room`)."""
    share = MOST_SOURCE_BYTES // len(columns.source)
    used, sizes = _used_records(columns), [source.stored_bytes for source in columns.sources]
    large = [n for n, size in enumerate(sizes) if size > share]
    large.sort(key=lambda n: (-used[n], columns.sources[n].order))
    gone = []
    while sum(sizes) > MOST_SOURCE_BYTES:
        gone.append(large.pop())
        sizes[gone[-1]] = 0
    return gone


def _left_out(device: str, overlaid: DeviceColumns, columns: DeviceColumns) -> list[UnusedSource]:
    """Return the sources of `overlaid` that have records but are not in `columns`."""
    if columns is overlaid:
        return []
    kept = {source.block.object_id for source in columns.sources}
    rows = _used_records(overlaid) + [source.displaced for source in overlaid.sources]
    return [
        UnusedSource(device, source.block, int(rows[n]))
        for n, source in enumerate(overlaid.sources)
        if rows[n] and source.block.object_id not in kept
    ]


def _used_records(columns: DeviceColumns) -> NDArray[np.intp]:
    """Return the number of pulses at which the record of each source is used, (n_sources,)."""
    return np.bincount(columns.source[columns.present], minlength=len(columns.sources))


def _stored_bytes(columns: DeviceColumns) -> int:
    return sum(source.stored_bytes for source in columns.sources)


def _overlay(columns: DeviceColumns, records: WindowRecords) -> DeviceColumns:
    """Add the records, except at pulses for which a later object already has a record."""
    later = [n for n, source in enumerate(columns.sources) if source.order > records.source.order]
    wins = ~np.isin(columns.source[records.slot], later)
    slot = records.slot[wins]
    lost = columns.source[slot]
    sources = [
        replace(source, displaced=source.displaced + int((lost == n).sum()))
        for n, source in enumerate(columns.sources)
    ]
    # Drop the reasons of the replaced records first, so that their codes are free for new reasons.
    columns = _without_unused_reasons(replace(columns, verdict=_put(columns.verdict, slot, VALID)))
    reasons = list(columns.reasons)
    used = set(records.verdict[wins].tolist()) - {VALID}
    renumber = np.zeros(len(records.reasons) + 1, np.int32)
    for code in sorted(used):
        renumber[code] = reason_code(reasons, records.reasons[code - 1])
    return replace(
        columns,
        source=_put(columns.source, slot, len(columns.sources)),
        row=_put(columns.row, slot, records.row[wins]),
        verdict=_put(columns.verdict, slot, renumber[records.verdict[wins]]),
        on=_put(columns.on, slot, records.on[wins]),
        sources=(*sources, replace(records.source, displaced=int((~wins).sum()))),
        reasons=tuple(reasons),
    )


def _without_unused_reasons(columns: DeviceColumns) -> DeviceColumns:
    """Return the columns without the reasons that no pulse refers to, because their records were replaced."""
    used = np.unique(columns.verdict[columns.verdict != VALID])
    if len(used) == len(columns.reasons):
        return columns
    renumber = np.zeros(len(columns.reasons) + 1, np.int32)
    renumber[used] = np.arange(1, len(used) + 1)
    return replace(
        columns, verdict=renumber[columns.verdict], reasons=tuple(columns.reasons[n - 1] for n in used)
    )


def _put(column: NDArray[Value], slot: Counts, value: NDArray[Value] | int) -> NDArray[Value]:
    changed_column = column.copy()
    changed_column[slot] = value
    return changed_column
