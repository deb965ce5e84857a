"""Drift: recent measurements of each device compared with the training data of the champion."""

from functools import partial

from shotwatch_common import metrics
from shotwatch_common.announcing import announce
from shotwatch_common.background import Items
from shotwatch_common.bundle_files import MANIFEST
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.process import ServiceContext
from shotwatch_common.promoted import download_promoted
from shotwatch_common.promotion_audit import UnprovenPromotion, proven
from shotwatch_common.registry import ModelRegistry
from shotwatch_detector.bundle import read_baselines
from shotwatch_detector.columns import DeviceBaselines
from shotwatch_history.domain.drift import measure_drift, shifted
from shotwatch_history.events import drift_event_of
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.drift import Drift
from shotwatch_shots.facility import ExpectedDevices
from shotwatch_shots.models import Promotion
from shotwatch_shots.pulses import window_length_ms
from shotwatch_shots.vocabulary import ModelAlias

WINDOW_MS = 15 * 60_000
"""Length of the data that is compared with the champion's references, in ms."""


class DriftWatch:
    """The periodic drift check; it uses only data recorded since this replica first saw the champion.

    Data from before the promotion belong to an earlier champion, and their distance from the new references
    is no drift. Which data these are is not known after a restart: measurements do not name a champion, and
    the time of the promotion does not separate data that are stored long after they were recorded. A replica
    therefore begins anew when it starts. It reports a drift once FEWEST_MEDIANS batches were recorded since,
    which takes minutes; a drift takes hours.
    """

    def __init__(self, context: ServiceContext[HistorySettings], registry: ModelRegistry) -> None:
        self._context = context
        self._registry = registry
        self._version: str | None = None
        self._baseline: DeviceBaselines = {}
        self._since: dict[ExpectedDevices, int] = {}
        """Place → epoch ms of its newest data when the champion was first seen."""
        self._devices = Items(context.servers_answer, context.log)

    async def poll(self) -> None:
        """Measure every device that the champion knows, and report drift that has not been reported."""
        await self._poll_champion()
        if self._version is None:
            return
        with self._context.tracer.start_as_current_span("check for drift"):
            latest = latest_record_ms(self._context.facility)
            for expected in self._context.facility.places:
                now = await self._context.archive.devices.newest(latest, expected.devices)
                if now is not None:
                    known = sorted(self._baseline.keys() & set(expected.devices))
                    await self._devices.each(known, partial(self._compare, expected, now, self._version))

    async def _poll_champion(self) -> None:
        try:
            champion = await proven(self._context.archive, ModelAlias.CHAMPION)
        except UnprovenPromotion:
            return  # inference also keeps the previous model, and reports the problem
        version = champion.version if champion else None
        if version == self._version:
            return
        metrics.DRIFT.clear()
        self._baseline = await self._fetch(champion) if champion and version else {}
        latest = latest_record_ms(self._context.facility)
        newest = {
            expected: await self._context.archive.devices.newest(latest, expected.devices)
            for expected in self._context.facility.places
        }
        self._since = {expected: time for expected, time in newest.items() if time is not None}
        self._version = version

    async def _fetch(self, champion: Promotion) -> DeviceBaselines:
        """Return the champion's references; if they cannot be read, return none and log it once."""
        try:
            return read_baselines((await download_promoted(self._registry, champion))[MANIFEST])
        except ValueError as error:
            self._context.log.error("references cannot be read", version=champion.version, why=str(error))
            return {}

    async def _compare(self, expected: ExpectedDevices, now: int, version: str, device: str) -> None:
        """Measure a device's drift before `now` (epoch ms, by the place's own clocks), and report it once.

        Another device of the place may have a clock that is ahead, so this device's own last shots count.
        """
        baselines = self._baseline[device]
        measurements, names = self._context.archive.measurements, list(baselines)
        start = max(now - WINDOW_MS, self._since.get(expected, 0) + 1)
        medians = await measurements.medians(device, names, start, now + 1)
        if not len(medians.pulses):
            return
        length = window_length_ms(self._context.facility.interval(expected.interval))
        newest = max(start, int(medians.pulses[-1]) - length)
        shots = await measurements.series(device, names, newest, now + 1)
        features = measure_drift(baselines, medians.columns, shots.columns)
        if not features:
            return
        drift = Drift(device, version, start, int(medians.pulses[-1]), features)
        await self._context.archive.drifts.keep(drift)
        metrics.drift_measured(expected.series, device, (of.shift for of in features.values()))
        if far := shifted(drift):
            event = drift_event_of(drift, far, expected.series, self._context.facility.name)
            await announce([event], self._context.archive, self._context.bus, self._context.log)
