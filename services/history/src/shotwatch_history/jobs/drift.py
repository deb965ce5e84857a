"""Drift: recent measurements of each device compared with the training data of the champion."""

from functools import partial

from shotwatch_common import metrics
from shotwatch_common.announcing import announce
from shotwatch_common.background import Items
from shotwatch_common.bundle_files import MANIFEST
from shotwatch_common.clock import latest_record_ms
from shotwatch_common.process import Edges
from shotwatch_common.promoted import download_promoted
from shotwatch_common.promotion_audit import UnprovenPromotion, proven
from shotwatch_common.registry import ModelRegistry
from shotwatch_detector.bundle import read_usual
from shotwatch_detector.decision import UsualOfDevices
from shotwatch_history.domain.drift import measure_drift, shifted
from shotwatch_history.events import drift_event_of
from shotwatch_history.settings import HistorySettings
from shotwatch_shots.drift import Drift
from shotwatch_shots.facility import PlaceRoster
from shotwatch_shots.models import Promotion
from shotwatch_shots.pulses import window_length_ms
from shotwatch_shots.vocabulary import ModelAlias

WINDOW_MS = 15 * 60_000
"""Length of the data that is compared with the champion's references, in ms."""


class DriftWatch:
    """The periodic drift check; it uses only data recorded since the champion was first seen.

    Data from before that were scored by an earlier model, and their distance from the new references is no
    drift.
    """

    def __init__(self, edges: Edges[HistorySettings], registry: ModelRegistry) -> None:
        self._edges = edges
        self._registry = registry
        self._version: str | None = None
        self._usual: UsualOfDevices = {}
        self._since: dict[PlaceRoster, int] = {}
        """Place → epoch ms of its newest data when the champion was first seen."""
        self._devices = Items(edges.servers_answer, edges.log)

    async def look(self) -> None:
        """Measure every device that the champion knows, and report drift that has not been reported."""
        await self._look_for_champion()
        if self._version is None:
            return
        with self._edges.tracer.start_as_current_span("look for drift"):
            latest = latest_record_ms(self._edges.facility)
            for roster in self._edges.facility.places:
                now = await self._edges.archive.devices.newest(latest, roster.devices)
                if now is not None:
                    known = sorted(self._usual.keys() & set(roster.devices))
                    await self._devices.each(known, partial(self._compare, roster, now, self._version))

    async def _look_for_champion(self) -> None:
        try:
            champion = await proven(self._edges.archive, ModelAlias.CHAMPION)
        except UnprovenPromotion:
            return  # inference also keeps the previous model, and reports the problem
        version = champion.version if champion else None
        if version == self._version:
            return
        metrics.DRIFT.clear()
        self._usual = await self._fetch(champion) if champion and version else {}
        latest = latest_record_ms(self._edges.facility)
        newest = {
            roster: await self._edges.archive.devices.newest(latest, roster.devices)
            for roster in self._edges.facility.places
        }
        self._since = {roster: time for roster, time in newest.items() if time is not None}
        self._version = version

    async def _fetch(self, champion: Promotion) -> UsualOfDevices:
        """Return the champion's references; if they cannot be read, return none and log it once."""
        try:
            return read_usual((await download_promoted(self._registry, champion))[MANIFEST])
        except ValueError as error:
            self._edges.log.error("references cannot be read", version=champion.version, why=str(error))
            return {}

    async def _compare(self, roster: PlaceRoster, now: int, version: str, device: str) -> None:
        """Measure a device's drift before `now` (epoch ms, by the place's own clocks), and report it once."""
        usual = self._usual[device]
        measurements, names = self._edges.archive.measurements, list(usual)
        start = max(now - WINDOW_MS, self._since.get(roster, 0) + 1)
        newest = max(start, now - window_length_ms(self._edges.facility.interval(roster.interval)))
        medians = await measurements.medians(device, names, start, now + 1)
        shots = await measurements.series(device, names, newest, now + 1)
        features = measure_drift(usual, medians.columns, shots.columns)
        if not features:
            return
        drift = Drift(device, version, start, int(medians.pulses[-1]), features)
        await self._edges.archive.drifts.keep(drift)
        metrics.drift_measured(roster.series, device, (of.shift for of in features.values()))
        if far := shifted(drift):
            event = drift_event_of(drift, far, roster.series, self._edges.facility.name)
            await announce([event], self._edges.archive, self._edges.bus, self._edges.log)
