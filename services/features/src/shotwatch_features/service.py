"""features: measure each shot.

Consumes `ShotBatch`, publishes `ShotsMeasured`; consumes `ShotsFlagged`.

Delivery of `ShotBatch`: read the blocks of the shots' valid members, store the features under the batch's
id, then publish the shots. Last, measure a share of the shots in detail, from frames kept in memory, and
store the result. Delivery of `ShotsFlagged`: read the batch and its blocks, measure the listed shots in
detail, and store the result. Handling a message a second time stores the same and publishes the same message
again. If the service dies halfway, the message is delivered again and handled as a whole.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import numpy as np

from shotwatch_common import faults, metrics
from shotwatch_common.archive.measurements import Source
from shotwatch_common.background import every
from shotwatch_common.bus import Subscription
from shotwatch_common.process import PREFETCH, Edges, Service
from shotwatch_common.readings import Collected, Readings, readings_of
from shotwatch_common.shelf import Shelf
from shotwatch_features.domain.measure import (
    Known,
    examine_camera,
    examined,
    measure,
)
from shotwatch_features.settings import FeaturesSettings
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import Reference
from shotwatch_shots.batch import ShotBatch, ShotsFlagged, ShotsMeasured
from shotwatch_shots.calibration import CharacterisationKind
from shotwatch_shots.errors import Reject
from shotwatch_shots.vocabulary import DATA_KINDS, DeviceKind

READERS = {
    CharacterisationKind.NOISE: NoiseModel.from_npz,
    CharacterisationKind.REFERENCE: Reference.from_npz,
}


async def assemble(edges: Edges[FeaturesSettings], _resources: AsyncExitStack) -> Service:
    shelf = Shelf(edges.archive, edges.store, READERS)
    measurer = Measurer(edges, shelf)

    async def look() -> None:
        for bad, why in await shelf.look():
            edges.log.warning("unusable", device=bad.device, kind=bad.kind, version=bad.version, why=why)

    async def look_again_and_again() -> None:
        await every(edges.settings.characterisation_poll_seconds, look, edges.log)

    subscriptions = (
        Subscription("features", ShotBatch, measurer.measure, PREFETCH),
        Subscription("examination", ShotsFlagged, measurer.examine_flagged, PREFETCH),
    )
    return Service(subscriptions, beforehand=(look,), background=(look_again_and_again,))


class Measurer:
    """The measurement of shots: blocks in, features out."""

    def __init__(self, edges: Edges[FeaturesSettings], shelf: Shelf) -> None:
        self._edges = edges
        self._shelf = shelf

    async def measure(self, shots: ShotBatch) -> None:
        """Measure every valid member of a batch of shots, and a share of the shots in detail."""
        share, measured, to_examine = examined(shots.pulses), Collected(len(shots.pulses)), []
        async for readings in readings_of(shots.members_of(DATA_KINDS), self._edges.store):
            known = self._known(readings.device)
            measured.add(readings, await asyncio.to_thread(measure, readings.kind, readings.arrays, known))
            if readings.kind is DeviceKind.CAMERA:
                to_examine.append(readings.only(share))
        await self._edges.archive.measurements.keep(shots, Source.FEATURES, measured.columns)
        faults.reach("features.after_write")
        await self._edges.bus.send("inference", ShotsMeasured(shots=shots))
        metrics.shots_measured(shots.series, measured.columns)
        faults.reach("features.after_publish")
        await self._examine(shots, to_examine, Source.EXAMINATION)
        self._edges.log.info("shots measured", batch=shots.batch_id, devices=len(measured.columns))

    async def examine_flagged(self, flagged: ShotsFlagged) -> None:
        """Measure the anomalous shots of a batch in detail.

        Raises:
            Reject: the batch does not exist.
        """
        shots = await self._edges.archive.batches.find(flagged.batch_id)
        if shots is None:
            raise Reject("unknown_batch", f"there is no batch {flagged.batch_id}")
        chosen = np.zeros(len(shots.pulses), bool)
        chosen[flagged.shots] = True
        cameras = readings_of(shots.members_of((DeviceKind.CAMERA,)), self._edges.store, chosen)
        await self._examine(shots, [readings.only(chosen) async for readings in cameras], Source.FLAGGED)

    async def _examine(self, shots: ShotBatch, of_cameras: Sequence[Readings], source: Source) -> None:
        found = Collected(len(shots.pulses))
        for readings in of_cameras:
            if len(readings.shots):
                known = self._known(readings.device)
                found.add(readings, await asyncio.to_thread(examine_camera, readings.arrays, known))
        await self._edges.archive.measurements.keep(shots, source, found.columns)
        faults.reach("features.after_examination")

    def _known(self, device: str) -> Known:
        datasets = self._edges.facility.device_type(device).datasets
        return Known(
            self._edges.facility.frames.saturated_at,
            datasets[0].wavelengths if datasets else None,
            self._shelf.newest(device, CharacterisationKind.NOISE),
            self._shelf.newest(device, CharacterisationKind.REFERENCE),
        )
