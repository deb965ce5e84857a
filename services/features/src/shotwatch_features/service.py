"""features: measure each shot.

Consumes `ShotBatch`, publishes `ShotsMeasured`; consumes `ShotsFlagged`.

Delivery of `ShotBatch`: read the blocks of the shots' valid members, store the features under the batch's
id, then publish the shots. Last, measure a share of the shots in detail, from frames kept in memory,
store the result, and mark the batch as measured in detail. Delivery of `ShotsFlagged`: read the batch and
its blocks, measure the listed shots in detail, store the result and mark the batch. Handling a message a
second time stores the same and publishes the same message again. If the service dies halfway, the message
is delivered again and handled as a whole.

Large batches are measured in slices, and measurements in detail wait until none of these waits (`turns`).
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import numpy as np

from shotwatch_common import faults, metrics
from shotwatch_common.archive.measurements import Source
from shotwatch_common.background import every
from shotwatch_common.bus import Subscription
from shotwatch_common.calibration_store import CalibrationStore
from shotwatch_common.process import PREFETCH, Service, ServiceContext
from shotwatch_common.readings import Collected, Readings, readings_of
from shotwatch_common.turns import SLICE, Turns, Urgency, usable_cores
from shotwatch_features.domain.measure import (
    Known,
    chosen_for_detail,
    measure,
    measure_camera_in_detail,
)
from shotwatch_features.settings import FeaturesSettings
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import Reference
from shotwatch_shots.batch import ShotBatch, ShotsFlagged, ShotsMeasured
from shotwatch_shots.device_kinds import DATA_KINDS, DeviceKind
from shotwatch_shots.errors import Reject
from shotwatch_shots.vocabulary import CalibrationKind

READERS = {
    CalibrationKind.NOISE: NoiseModel.from_npz,
    CalibrationKind.REFERENCE: Reference.from_npz,
}


async def assemble(context: ServiceContext[FeaturesSettings], _resources: AsyncExitStack) -> Service:
    calibration_store = CalibrationStore(context.archive, context.store, READERS)
    measurer = Measurer(context, calibration_store)

    async def poll() -> None:
        for bad, why in await calibration_store.poll():
            context.log.warning("unusable", device=bad.device, kind=bad.kind, version=bad.version, why=why)

    async def keep_polling() -> None:
        await every(context.settings.calibration_poll_seconds, poll, context.log)

    subscriptions = (
        Subscription("features", ShotBatch, measurer.measure, PREFETCH),
        Subscription("detail", ShotsFlagged, measurer.measure_flagged, PREFETCH),
    )
    return Service(subscriptions, startup_checks=(poll,), background=(keep_polling,))


class Measurer:
    """The measurement of shots: blocks in, features out."""

    def __init__(
        self, context: ServiceContext[FeaturesSettings], calibration_store: CalibrationStore
    ) -> None:
        self._context = context
        self._calibration_store = calibration_store
        self._turns = Turns(usable_cores())

    async def measure(self, shots: ShotBatch) -> None:
        """Measure every valid member of a batch of shots, and a share of the shots in detail."""
        urgency = Urgency.SMALL if shots.is_small else Urgency.LARGE
        share, measured, for_detail = chosen_for_detail(shots.pulses), Collected(len(shots.pulses)), []
        async for readings in readings_of(shots.members_of(DATA_KINDS), self._context.store):
            known = self._known(readings.device)
            for part in readings.slices(SLICE):
                measured.add(part, await self._turns.compute(urgency, measure, part.kind, part.arrays, known))
            if readings.kind is DeviceKind.CAMERA:
                for_detail.append(readings.only(share))
        await self._context.archive.measurements.keep(shots, Source.FEATURES, measured.columns)
        faults.reach("features.after_write")
        await self._context.bus.send("inference", ShotsMeasured(shots=shots))
        metrics.shots_measured(shots.series, measured.columns, self._context.facility)
        faults.reach("features.after_publish")
        await self._measure_in_detail(shots, for_detail, Source.DETAIL)
        self._context.log.info("shots measured", batch=shots.batch_id, devices=len(measured.columns))

    async def measure_flagged(self, flagged: ShotsFlagged) -> None:
        """Measure the anomalous shots of a batch in detail.

        Raises:
            Reject: the batch does not exist.
        """
        shots = await self._context.archive.batches.find(flagged.batch_id)
        if shots is None:
            raise Reject("unknown_batch", f"there is no batch {flagged.batch_id}")
        chosen = np.zeros(len(shots.pulses), bool)
        chosen[flagged.shots] = True
        cameras = readings_of(shots.members_of((DeviceKind.CAMERA,)), self._context.store, chosen)
        await self._measure_in_detail(
            shots, [readings.only(chosen) async for readings in cameras], Source.FLAGGED
        )

    async def _measure_in_detail(
        self, shots: ShotBatch, of_cameras: Sequence[Readings], source: Source
    ) -> None:
        urgency = Urgency.SMALL if shots.is_small else Urgency.IDLE
        found = Collected(len(shots.pulses))
        for readings in of_cameras:
            if len(readings.shots):
                known = self._known(readings.device)
                found.add(
                    readings,
                    await self._turns.compute(urgency, measure_camera_in_detail, readings.arrays, known),
                )
        await self._context.archive.measurements.keep(shots, source, found.columns)
        faults.reach("features.after_detail")
        await self._context.archive.batches.detailed(shots.batch_id)

    def _known(self, device: str) -> Known:
        datasets = self._context.facility.device_type(device).datasets
        return Known(
            self._context.facility.frames.saturated_at,
            datasets[0].wavelengths if datasets else None,
            self._calibration_store.newest(device, CalibrationKind.NOISE),
            self._calibration_store.newest(device, CalibrationKind.REFERENCE),
        )
