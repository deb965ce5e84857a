"""The state of devices, and their operation: time in each state, gaps, chatter, clocks."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from shotwatch_common.archive.devices import LastState
from shotwatch_common.clock import latest_record_ms
from shotwatch_physics.device_states import Gaps, clock_skew, find_gaps, state_chatter, state_shares
from shotwatch_query.devices import find_expected, period_ms
from shotwatch_query.domain.pages import Span
from shotwatch_query.domain.timelines import segments
from shotwatch_query.parameters import Area, DeviceName, SpanParameters, require_short
from shotwatch_query.reservation import Room
from shotwatch_query.routes.reports.schemas import (
    CalibrationSummary,
    ChatterSummary,
    ClockComparison,
    DeviceList,
    DeviceReport,
    DeviceReports,
    DeviceSummary,
    GapSummary,
    StateSegment,
    StateTime,
)
from shotwatch_query.sources import ApiSources, From
from shotwatch_shots.calibration import CalibrationConstants
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.records import NO_STATE, DeviceHistory

router = APIRouter(tags=["devices"])
StateNames = Mapping[int, str | None]
"""Code in the records → name of the state."""
_AT_A_TIME = 3
"""Number of devices whose records are in memory."""


class ReportSearch(SpanParameters):
    """The devices and the span that are requested; a parameter that is left out matches any."""

    place: Area = None

    def accepts(self, expected: ExpectedDevices) -> bool:
        return self.place is None or expected.place.is_within(self.place)


@router.get("/devices", summary="All devices")
async def list_devices(sources: From) -> DeviceList:
    """Return every device of the facility: kind, place, last known state, noise models and references."""
    groups = [group for expected in sources.facility.places for group in expected.devices]
    seen = await sources.archive.devices.last_states(groups, latest_record_ms(sources.facility))
    known: dict[str, list[CalibrationConstants]] = {}
    for each in await sources.archive.calibration_constants.latest():
        known.setdefault(each.device, []).append(each)
    return DeviceList(
        devices=[
            _device(sources, expected, group, seen.get(group), known.get(group, []))
            for expected in sources.facility.places
            for group in expected.devices
        ]
    )


@router.get("/devices/{device}/report", summary="How a device worked")
async def get_report(
    sources: From, room: Room, device: DeviceName, asked: Annotated[SpanParameters, Query()]
) -> DeviceReport:
    """Return the share of time in each state, gaps, chatter, refused records, and the clock of a device.

    Without `from` and `to` the span is the last day of data. At most a million records are evaluated.
    """
    expected = find_expected(sources.facility, device)
    span = asked.span(await sources.end_of_data())
    await room.values(_AT_A_TIME * require_short(span, period_ms(sources.facility, expected)))
    return await anext(_reports(sources, expected, [device], span))


@router.get("/reports", summary="How all devices worked")
async def list_reports(sources: From, room: Room, asked: Annotated[ReportSearch, Query()]) -> DeviceReports:
    """Return the reports of all devices that recorded anything, by default in the last day of data.

    A day of a place at 10 Hz takes seconds, a day of the whole facility almost a minute.
    """
    all_expected = [expected for expected in sources.facility.places if asked.accepts(expected)]
    span = asked.span(await sources.end_of_data())
    records = [require_short(span, period_ms(sources.facility, expected)) for expected in all_expected]
    await room.values(_AT_A_TIME * max(records, default=0))
    reports = [
        report
        for expected in all_expected
        async for report in _reports(sources, expected, expected.devices, span)
        if report.records
    ]
    return DeviceReports(start=span.start, end=span.end, devices=reports)


def _device(
    sources: ApiSources,
    expected: ExpectedDevices,
    group: str,
    last: LastState | None,
    calibration_constants: Sequence[CalibrationConstants],
) -> DeviceSummary:
    return DeviceSummary(
        place=expected.place,
        interval=expected.interval,
        device=group,
        kind=sources.facility.device_type(group).kind,
        state=last and last.state,
        time=last and last.time,
        calibration_constants=list(map(CalibrationSummary.model_validate, calibration_constants)),
    )


async def _reports(
    sources: ApiSources, expected: ExpectedDevices, devices: Sequence[str], span: Span
) -> AsyncIterator[DeviceReport]:
    """Yield one report after the other; the records of at most _AT_A_TIME devices are in memory."""

    async def read(device: str) -> DeviceHistory:
        return await sources.archive.records.of_device(device, span.start, span.end)

    first = {device: await read(device) for device in expected.devices[:2]}
    for device in devices:
        records = first[device] if device in first else await read(device)
        other = next((each for each in first if each != device), None)
        clock = None if other is None else _clock(sources, expected, records, other, first[other])
        yield await asyncio.to_thread(_report, sources.facility, expected, device, records, span, clock)


def _clock(
    sources: ApiSources, expected: ExpectedDevices, records: DeviceHistory, other: str, others: DeviceHistory
) -> ClockComparison:
    skew = clock_skew(others.times, records.times, period_ms(sources.facility, expected))
    return ClockComparison(against=other, **asdict(skew))


def _report(
    facility: Facility,
    expected: ExpectedDevices,
    device: str,
    records: DeviceHistory,
    span: Span,
    clock: ClockComparison | None,
) -> DeviceReport:
    interval, times = period_ms(facility, expected), records.times
    names: StateNames = {NO_STATE: None, **dict(enumerate(records.states))}
    return DeviceReport(
        place=expected.place,
        interval=expected.interval,
        device=device,
        kind=facility.device_type(device).kind,
        start=span.start,
        end=span.end,
        records=len(times),
        first=int(times[0]) if len(times) else None,
        last=int(times[-1]) if len(times) else None,
        states=_state_times(records, names, interval, facility.state.on),
        gaps=_gaps(find_gaps(times, interval)),
        chatter=_chatter(records, interval),
        refused=records.refused,
        clock=clock,
        segments=_segments(records, names, interval, span),
    )


def _state_times(records: DeviceHistory, names: StateNames, interval: int, on: str) -> list[StateTime]:
    spent = [
        StateTime(state=names[each.state], seconds=each.time_ms / 1000, share=each.share)
        for each in state_shares(records.times, records.state, interval)
    ]
    return sorted(spent, key=lambda each: (each.state != on, -each.share))


def _gaps(gaps: Gaps) -> GapSummary:
    return GapSummary(count=gaps.count, total_s=gaps.total_ms / 1000, longest_s=gaps.longest_ms / 1000)


def _chatter(records: DeviceHistory, interval: int) -> ChatterSummary:
    chatter = state_chatter(records.times, records.state, interval)
    return ChatterSummary(changes=chatter.changes, per_hour=chatter.per_hour, bursts=len(chatter.bursts))


def _segments(records: DeviceHistory, names: StateNames, interval: int, span: Span) -> list[StateSegment]:
    return [
        StateSegment(state=names[each.state], start=each.start, end=each.end)
        for each in segments(records.times, records.state, interval, span)
    ]
