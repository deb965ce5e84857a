"""Slow changes: each device's recent measurements compared with its earlier ones."""

from collections.abc import Mapping
from functools import partial

from shotwatch_common import faults
from shotwatch_common.announcing import announce
from shotwatch_common.background import Items
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.process import Edges
from shotwatch_history.domain.trends import WATCHED, find_shift
from shotwatch_history.events import event_of
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.facility import PlaceRoster

ToldUntil = Mapping[tuple[str, str], int]

PERIOD_MS = 24 * 3_600_000
"""Length of the data in which slow changes are sought, in ms."""


class TrendWatch:
    """The periodic search for slow changes."""

    def __init__(self, edges: Edges[HistorySettings]) -> None:
        self._edges = edges
        self._devices = Items(edges.servers_answer, edges.log)

    async def look(self) -> None:
        """Report every slow change that has not been reported."""
        latest = latest_record_ms(self._edges.facility)
        told_until = await self._edges.archive.trends.told_until()
        with self._edges.tracer.start_as_current_span("look for trends"):
            for roster in self._edges.facility.places:
                now = await self._edges.archive.devices.newest(latest, roster.devices)
                if now is not None:
                    compare = partial(self._compare, roster, now, told_until)
                    await self._devices.each(roster.devices, compare)

    async def _compare(self, roster: PlaceRoster, now: int, told_until: ToldUntil, device: str) -> None:
        """Report the device's first unreported changes before `now` (epoch ms, by the place's own clocks)."""
        start = now - PERIOD_MS
        names = WATCHED.get(self._edges.facility.device_type(device).kind)
        if not names:
            return
        series = await self._edges.archive.measurements.medians(device, names, start, now + 1)
        for name in names:
            told = told_until.get((device, name), 0)
            if told > now:  # from a record with a future time, stored before such records were refused
                told = 0
            recent = series.pulses >= told
            shift = find_shift(device, name, series.pulses[recent], series.columns[name][recent])
            if shift is not None:
                event = event_of(shift, roster.series, told, self._edges.facility.name)
                await announce([event], self._edges.archive, self._edges.bus, self._edges.log)
                faults.reach("history.after_announce")
                await self._edges.archive.trends.told(device, name, shift.time)
