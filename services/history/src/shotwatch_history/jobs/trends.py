"""Slow changes: each device's recent measurements compared with its earlier ones."""

from collections.abc import Mapping
from functools import partial

from shotwatch_common import faults
from shotwatch_common.announcing import announce
from shotwatch_common.background import Items
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.process import ServiceContext
from shotwatch_history.domain.trends import WATCHED, find_shift
from shotwatch_history.events import event_of
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.facility import ExpectedDevices

ReportedUntil = Mapping[tuple[str, str], int]

PERIOD_MS = 24 * 3_600_000
"""Length of the data in which slow changes are sought, in ms."""


class TrendWatch:
    """The periodic search for slow changes."""

    def __init__(self, context: ServiceContext[HistorySettings]) -> None:
        self._context = context
        self._devices = Items(context.servers_answer, context.log)

    async def poll(self) -> None:
        """Report every slow change that has not been reported."""
        latest = latest_record_ms(self._context.facility)
        reported_until = await self._context.archive.trends.reported_until()
        with self._context.tracer.start_as_current_span("check for trends"):
            for expected in self._context.facility.places:
                now = await self._context.archive.devices.newest(latest, expected.devices)
                if now is not None:
                    compare = partial(self._compare, expected, now, reported_until)
                    await self._devices.each(expected.devices, compare)

    async def _compare(
        self, expected: ExpectedDevices, now: int, reported_until: ReportedUntil, device: str
    ) -> None:
        """Report the device's first unreported changes before `now` (epoch ms, by the place's own clocks)."""
        start = now - PERIOD_MS
        names = WATCHED.get(self._context.facility.device_type(device).kind)
        if not names:
            return
        series = await self._context.archive.measurements.medians(device, names, start, now + 1)
        for name in names:
            reported = reported_until.get((device, name), 0)
            if reported > now:  # from a record with a future time, stored before such records were refused
                reported = 0
            recent = series.pulses >= reported
            shift = find_shift(device, name, series.pulses[recent], series.columns[name][recent])
            if shift is not None:
                event = event_of(shift, expected.series, reported, self._context.facility.name)
                await announce([event], self._context.archive, self._context.bus, self._context.log)
                faults.reach("history.after_announce")
                await self._context.archive.trends.reported(device, name, shift.time)
