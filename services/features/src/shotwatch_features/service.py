"""features: measures each shot.

Consumes `ShotsClosed`, publishes `ShotsMeasured`; consumes `ShotsFlagged`.

Delivery of `ShotsClosed`: reads the blocks of the shots' valid members, writes what it measured under the
batch's id, then publishes the shots; last it examines a share of them closely, whose frames it has kept, and
writes that. Of `ShotsFlagged`: reads the batch and its blocks, examines the shots named, and writes that. Run
twice it writes the same and publishes the same message twice; dying half-way leaves nothing that the message,
which comes again, would not write again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import numpy as np

from shotwatch_common import faults, metrics
from shotwatch_common.archive.characterisations import CharacterisationKind
from shotwatch_common.archive.measurements import Source
from shotwatch_common.background import every
from shotwatch_common.bus import Subscription
from shotwatch_common.process import PREFETCH, Edges, Service
from shotwatch_common.shelf import Shelf
from shotwatch_features.domain.measure import (
    MEASURED_KINDS,
    Known,
    examine_camera,
    examined,
    measure,
)
from shotwatch_features.parts import Collected, Part, parts_of
from shotwatch_features.settings import FeaturesSettings
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import Reference
from shotwatch_shots.batch import ShotsClosed, ShotsFlagged, ShotsMeasured
from shotwatch_shots.errors import Reject
from shotwatch_shots.vocabulary import DeviceKind

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
        Subscription("features", ShotsClosed, measurer.measure, PREFETCH),
        Subscription("examination", ShotsFlagged, measurer.examine_flagged, PREFETCH),
    )
    return Service(subscriptions, beforehand=(look,), background=(look_again_and_again,))


class Measurer:
    """Blocks in, features out."""

    def __init__(self, edges: Edges[FeaturesSettings], shelf: Shelf) -> None:
        self._edges = edges
        self._shelf = shelf

    async def measure(self, shots: ShotsClosed) -> None:
        """Measure every valid member of a batch of shots, and examine a share of them."""
        everything, share = np.ones(len(shots.pulses), bool), examined(np.array(shots.pulses))
        measured, to_examine = Collected(len(shots.pulses)), []
        async for part in parts_of(shots, MEASURED_KINDS, everything, self._edges.store):
            known = self._known(part.device)
            measured.add(part, await asyncio.to_thread(measure, part.kind, part.arrays, known))
            if part.kind is DeviceKind.CAMERA:
                to_examine.append(part.only(share))
        await self._edges.archive.measurements.keep(shots, Source.FEATURES, measured.columns)
        faults.reach("features.after_write")
        await self._edges.bus.send("inference", ShotsMeasured(shots=shots))
        metrics.shots_measured(shots.series, measured.columns)
        faults.reach("features.after_publish")
        await self._examine(shots, to_examine, Source.EXAMINATION)
        self._edges.log.info("shots measured", batch=shots.batch_id, devices=len(measured.columns))

    async def examine_flagged(self, flagged: ShotsFlagged) -> None:
        """Examine the anomalous shots of a batch."""
        shots = await self._edges.archive.batches.find(flagged.batch_id)
        if shots is None:
            raise Reject("unknown_batch", f"there is no batch {flagged.batch_id}")
        chosen = np.zeros(len(shots.pulses), bool)
        chosen[flagged.shots] = True
        cameras = parts_of(shots, (DeviceKind.CAMERA,), chosen, self._edges.store)
        await self._examine(shots, [part.only(chosen) async for part in cameras], Source.FLAGGED)

    async def _examine(self, shots: ShotsClosed, parts: Sequence[Part], source: Source) -> None:
        found = Collected(len(shots.pulses))
        for part in parts:
            if len(part.shots):
                known = self._known(part.device)
                found.add(part, await asyncio.to_thread(examine_camera, part.arrays, known))
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
