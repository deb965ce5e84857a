"""history: keep each camera's reference, report slow changes and drift, check the ledger and the promotions.

Consumes nothing; checks the archive periodically. Publishes `AnomalyEvent` of kinds `trend` and `drift`.

Delivery: an event is stored, numbered and published before the change is recorded as reported. The id of the
event depends on what was reported before. If the service dies in between, it therefore publishes the same
event again, and two replicas publish one event. The id of a drift event names the device and the model
version: drift is reported once. A reference is added to the calibration store after its arrays are stored; if
the service dies before that, the arrays remain without any reference to them. A check of the ledger writes
only its own result, under the id of the hour or day that was checked.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

from shotwatch_common import faults
from shotwatch_common.announcing import announce
from shotwatch_common.background import Items, every
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.process import Edges, Service
from shotwatch_common.registry import ModelRegistry
from shotwatch_history.domain.trends import WATCHED, find_shift
from shotwatch_history.events import event_of
from shotwatch_history.jobs.drift import DriftWatch
from shotwatch_history.jobs.ledger import LedgerWatch
from shotwatch_history.jobs.promotions import PromotionWatch
from shotwatch_history.jobs.references import HOUR_MS, References
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.facility import PlaceRoster

ToldUntil = Mapping[tuple[str, str], int]

TREND_MS = 24 * HOUR_MS
"""Length of the data in which slow changes are sought, in ms."""
LEDGER_POLL_S = 60.0
"""Pause between two checks of the ledger, and of the promotions against the audit, in seconds."""


async def assemble(edges: Edges[HistorySettings], resources: AsyncExitStack) -> Service:
    historian, references = Historian(edges), References(edges)
    ledger, promotions = LedgerWatch(edges), PromotionWatch(edges)
    drift = DriftWatch(edges, await resources.enter_async_context(ModelRegistry.of(edges.settings)))

    async def look_for_trends() -> None:
        await every(edges.settings.trend_poll_seconds, historian.look, edges.log)

    async def renew_references() -> None:
        await every(edges.settings.reference_poll_seconds, references.renew, edges.log)

    async def look_for_drift() -> None:
        await every(edges.settings.drift_poll_seconds, drift.look, edges.log)

    async def look_at_ledger() -> None:
        await every(LEDGER_POLL_S, ledger.look, edges.log)

    async def compare_promotions() -> None:
        await every(LEDGER_POLL_S, promotions.look, edges.log)

    return Service(
        (), (look_for_trends, renew_references, look_for_drift, look_at_ledger, compare_promotions)
    )


class Historian:
    """The periodic comparison of each device's recent measurements with its earlier ones."""

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
        start = now - TREND_MS
        names = WATCHED[self._edges.facility.device_type(device).kind]
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
