"""The states of a device over time, in as few segments as possible."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotwatch_physics.device_states import LATE_INTERVALS
from shotwatch_query.domain.pages import Span

MOST_SEGMENTS = 1000

Times = NDArray[np.int64]
"""Epoch ms, ascending: (n,)."""
Codes = NDArray[np.int64]
"""The state of each record: (n,)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A period without a gap or a change of state, epoch ms."""

    state: int
    start: int
    end: int


def segments(times: Times, states: Codes, interval_ms: int, span: Span) -> list[Segment]:
    """Return at most MOST_SEGMENTS segments of the records in a span, in order of time.

    A record stands for the time until the next one; before a gap and at the end it stands for one sampling
    interval. If there are too many segments, the span is divided into MOST_SEGMENTS slots. Each slot with a
    record gets the rarest of its states, so that no problem is hidden.
    """
    exact = list(_runs(times, states, interval_ms))
    if len(exact) <= MOST_SEGMENTS:
        return exact
    slot_ms = -(-(span.end - span.start) // MOST_SEGMENTS)
    slots, rarest = _rarest(states, (times - span.start) // slot_ms)
    return list(_runs(span.start + slots * slot_ms, rarest, slot_ms))


def _runs(times: Times, states: Codes, interval_ms: int) -> Iterator[Segment]:
    late = np.diff(times) > LATE_INTERVALS * interval_ms
    # A segment ends before a gap, before a change of state, and at the last record.
    last = np.flatnonzero(np.append(late | (states[1:] != states[:-1]), True)[: len(times)])
    stops = np.append(np.where(late, times[:-1] + interval_ms, times[1:]), times[-1:] + interval_ms)
    first = np.append(0, last + 1)[: len(last)]
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        yield Segment(int(states[start]), int(times[start]), int(stops[end]))


def _rarest(states: Codes, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], Codes]:
    """Return the slots that have a record, and for each of them the state that is rarest in all records."""
    present, which, counts = np.unique(states, return_inverse=True, return_counts=True)
    order = np.lexsort((counts[which], slots))
    taken, first = np.unique(slots[order], return_index=True)
    return taken, present[which][order][first]
