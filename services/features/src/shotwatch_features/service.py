"""features: measures each shot.

Consumes `ShotsClosed`, publishes `ShotsMeasured`.

Delivery: reads the blocks of the shots' valid members, writes what it measured under the batch's id, then
publishes the shots. Run twice it writes the same and publishes the same message twice; dying half-way leaves
nothing that the message, which comes again, would not write again.
"""

import asyncio
from contextlib import AsyncExitStack

import numpy as np

from shotwatch_common.archive.measurements import Source
from shotwatch_common.blocks import Block, read_block
from shotwatch_common.bus import Subscription
from shotwatch_common.contracts import (
    ABSENT,
    VALID,
    BlockRef,
    Member,
    ShotsClosed,
    ShotsMeasured,
)
from shotwatch_common.errors import Retry
from shotwatch_common.process import Edges, Service
from shotwatch_common.store import ObjectGone
from shotwatch_features.domain.measure import MEASURED_KINDS, measure, spread
from shotwatch_features.settings import FeaturesSettings
from shotwatch_physics.feature import Features


async def assemble(edges: Edges[FeaturesSettings], _resources: AsyncExitStack) -> Service:
    measurer = Measurer(edges)
    return Service(Subscription("features", ShotsClosed, measurer.measure, edges.settings.prefetch))


class Measurer:
    """Blocks in, features out."""

    def __init__(self, edges: Edges[FeaturesSettings]) -> None:
        self._edges = edges
        self._saturated_at = edges.facility.frames.saturated_at

    async def measure(self, shots: ShotsClosed) -> None:
        """Measure every valid member of a batch of shots."""
        measured = {
            member.device: await self._measure_member(member, len(shots.pulses))
            for member in shots.members
            if member.kind in MEASURED_KINDS
        }
        await self._edges.archive.measurements.keep(shots, Source.FEATURES, measured)
        await self._edges.bus.send("inference", ShotsMeasured(shots=shots))
        self._edges.log.info("shots measured", batch=shots.batch_id, devices=len(measured))

    async def _measure_member(self, member: Member, shots: int) -> Features:
        columns: Features = {}
        source = np.array(member.source)
        valid = (source != ABSENT) & (np.array(member.verdict) == VALID)
        for n, ref in enumerate(member.blocks):
            where = np.flatnonzero(valid & (source == n))
            if len(where):
                block = await self._block(ref)
                rows = np.array(member.row, np.intp)[where]
                features = await asyncio.to_thread(measure, member.kind, block, rows, self._saturated_at)
                columns = _merged(columns, spread(features, where, shots))
        return columns

    async def _block(self, ref: BlockRef) -> Block:
        try:
            return read_block(await self._edges.store.get(ref.bucket, ref.key))
        except ObjectGone as error:
            raise Retry(f"block {ref.key} of {ref.object_key} is not there (yet)") from error


def _merged(some: Features, more: Features) -> Features:
    return {name: np.where(np.isnan(more[name]), some.get(name, np.nan), more[name]) for name in more}
