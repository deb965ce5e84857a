"""features: measures each shot.

Consumes `ShotsClosed`, publishes `ShotsMeasured`; consumes `ShotsFlagged`.

Delivery of `ShotsClosed`: reads the blocks of the shots' valid members, writes what it measured under the
batch's id, then publishes the shots; last it examines a share of them closely and writes that. Of
`ShotsFlagged`: reads the batch and its blocks, examines the shots named, and writes that. Run twice it
writes the same and publishes the same message twice; dying half-way leaves nothing that the message, which
comes again, would not write again.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import numpy as np
from numpy.typing import NDArray

from shotwatch_common import faults, metrics
from shotwatch_common.archive.characterisations import CharacterisationKind
from shotwatch_common.archive.measurements import Source
from shotwatch_common.blocks import Block
from shotwatch_common.bus import Subscription
from shotwatch_common.contracts import (
    ABSENT,
    VALID,
    Member,
    ShotsClosed,
    ShotsFlagged,
    ShotsMeasured,
)
from shotwatch_common.errors import Reject
from shotwatch_common.fetching import fetch_block
from shotwatch_common.process import Edges, Service, every
from shotwatch_common.shelf import Shelf
from shotwatch_common.vocabulary import DeviceKind
from shotwatch_features.domain.measure import (
    MEASURED_KINDS,
    Known,
    examine_camera,
    examined,
    measure,
)
from shotwatch_features.settings import FeaturesSettings
from shotwatch_physics.feature import Features
from shotwatch_physics.noise import NoiseModel
from shotwatch_physics.reference import Reference

Rows = NDArray[np.intp]
Physics = Callable[[Block, Rows], Features]
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

    prefetch = edges.settings.prefetch
    subscriptions = (
        Subscription("features", ShotsClosed, measurer.measure, prefetch),
        Subscription("examination", ShotsFlagged, measurer.examine_flagged, prefetch),
    )
    return Service(subscriptions, (look_again_and_again,))


class Measurer:
    """Blocks in, features out."""

    def __init__(self, edges: Edges[FeaturesSettings], shelf: Shelf) -> None:
        self._edges = edges
        self._shelf = shelf

    async def measure(self, shots: ShotsClosed) -> None:
        """Measure every valid member of a batch of shots, and examine a share of them."""
        everything = np.ones(len(shots.pulses), bool)
        measured = {
            member.device: await self._over_blocks(member, everything, self._physics(member))
            for member in shots.members
            if member.kind in MEASURED_KINDS
        }
        await self._edges.archive.measurements.keep(shots, Source.FEATURES, measured)
        faults.reach("features.after_write")
        await self._edges.bus.send("inference", ShotsMeasured(shots=shots))
        metrics.shots_measured(shots.place, measured)
        faults.reach("features.after_publish")
        await self._examine(shots, examined(np.array(shots.pulses)), Source.EXAMINATION)
        self._edges.log.info("shots measured", batch=shots.batch_id, devices=len(measured))

    async def examine_flagged(self, flagged: ShotsFlagged) -> None:
        """Examine the anomalous shots of a batch."""
        shots = await self._edges.archive.batches.find(flagged.batch_id)
        if shots is None:
            raise Reject("unknown_batch", f"there is no batch {flagged.batch_id}")
        chosen = np.zeros(len(shots.pulses), bool)
        chosen[flagged.shots] = True
        await self._examine(shots, chosen, Source.FLAGGED)

    async def _examine(self, shots: ShotsClosed, chosen: NDArray[np.bool_], source: Source) -> None:
        measured = {
            member.device: await self._over_blocks(member, chosen, self._examination(member))
            for member in shots.members
            if member.kind is DeviceKind.CAMERA and chosen.any()
        }
        await self._edges.archive.measurements.keep(shots, source, measured)
        faults.reach("features.after_examination")

    async def _over_blocks(self, member: Member, chosen: NDArray[np.bool_], physics: Physics) -> Features:
        """Features of the chosen shots in which the member is valid: one entry per shot, NaN elsewhere."""
        columns: Features = {}
        source, row = np.array(member.source), np.array(member.row, np.intp)
        valid = chosen & (source != ABSENT) & (np.array(member.verdict) == VALID)
        for n, ref in enumerate(member.blocks):
            where = np.flatnonzero(valid & (source == n))
            if len(where):
                block = await fetch_block(self._edges.store, ref)
                for name, values in (await asyncio.to_thread(physics, block, row[where])).items():
                    columns.setdefault(name, np.full(len(source), np.nan))[where] = values
        return columns

    def _physics(self, member: Member) -> Physics:
        known = self._known(member.device)
        return lambda block, rows: measure(member.kind, block, rows, known)

    def _examination(self, member: Member) -> Physics:
        known = self._known(member.device)
        return lambda block, rows: examine_camera(block, rows, known)

    def _known(self, device: str) -> Known:
        return Known(
            self._edges.facility.frames.saturated_at,
            self._edges.facility.dataset(DeviceKind.SPECTRO).wavelengths,
            self._shelf.newest(device, CharacterisationKind.NOISE),
            self._shelf.newest(device, CharacterisationKind.REFERENCE),
        )
