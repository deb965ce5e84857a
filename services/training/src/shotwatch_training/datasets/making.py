"""Making a training set: choose shots, find their records, write shards, and finally the manifest.

Only the blocks of one batch and the examples of one shard are in memory at a time, whatever the size of the
set.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.block import Block
from shotwatch_common.clock import epoch_now
from shotwatch_common.fetching import BlockGone, fetch_block
from shotwatch_physics.energy import measure_energies
from shotwatch_shots.device_kinds import DeviceKind
from shotwatch_shots.facility import Facility
from shotwatch_shots.records import BlockRef
from shotwatch_training.datasets.choosing import DatasetSources, Plan, choose, find_raw_objects, plan
from shotwatch_training.datasets.store import DatasetError, DatasetStore, shard_key
from shotwatch_training.domain.manifest import (
    DatasetManifest,
    Group,
    MemberColumn,
    SetCounts,
    Shard,
    ShotQuery,
    features_of,
)
from shotwatch_training.domain.triplets import ChosenShot, Triplet, examples_of
from shotwatch_training.progress import Progress

PER_SHARD = 2000
"""Number of examples in a shard; 70 MB with frames of 102 x 128."""


async def make_set(
    name: str,
    query: ShotQuery,
    sources: DatasetSources,
    sets: DatasetStore,
    progress: Progress,
    per_shard: int = PER_SHARD,
) -> DatasetManifest:
    """Make a set of the shots that match the query, and return its manifest.

    Raises:
        DatasetError: the name is taken, there is nothing to write, or a block expired meanwhile.
    """
    await sets.reserve(name)
    progress("choosing")
    shots = await choose(query, sources)
    progress("planning", shots=len(shots))
    planned = await plan(shots, sources)
    _refuse_empty(shots, planned)
    raw_objects = await find_raw_objects(planned.groups, sources)
    shards = await _write_shards(name, planned, sources, sets, progress, per_shard)
    manifest = DatasetManifest(
        name=name,
        facility=sources.facility.name,
        code_version=version("shotwatch-training"),
        made_at=epoch_now(),
        query=query,
        counts=_counts(shots, planned),
        features=features_of(*_shapes(sources.facility)),
        shards=shards,
        raw_objects=raw_objects,
        groups=list(planned.groups),
    )
    await sets.publish(manifest)
    return manifest


def _refuse_empty(shots: Sequence[ChosenShot], planned: Plan) -> None:
    if not shots:
        raise DatasetError("no shot matches: ask for another time, other places or other kinds of anomaly")
    if not planned.groups:
        raise DatasetError(
            f"{len(shots)} shots match, but none has a valid frame that can be read ({planned.expired} have "
            "expired): ask for another time, or upload the files again"
        )


def _counts(shots: Sequence[ChosenShot], planned: Plan) -> SetCounts:
    return SetCounts(
        matched=len(shots),
        shots=len({shot for group in planned.groups for shot in group.shots}),
        examples=planned.examples,
        cameras=len({group.camera for group in planned.groups}),
        expired=planned.expired,
    )


def _shapes(facility: Facility) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of frames and of spectra that validation accepts."""
    return facility.dataset(DeviceKind.CAMERA).shape, facility.dataset(DeviceKind.SPECTRO).shape


async def _write_shards(
    name: str, planned: Plan, sources: DatasetSources, sets: DatasetStore, progress: Progress, per_shard: int
) -> list[Shard]:
    from shotwatch_training.datasets.tfrecords import write_shard  # TensorFlow takes seconds to import

    sizes = [min(per_shard, planned.examples - first) for first in range(0, planned.examples, per_shard)]
    examples = _read(planned, _TripletReader(sources), progress)
    shards = []
    with TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            path = Path(folder, "shard.tfrecord")
            await asyncio.to_thread(write_shard, path, [await anext(examples) for _ in range(size)])
            shards.append(await sets.put_shard(shard_key(name, number, len(sizes)), path, size))
    return shards


async def _read(planned: Plan, reader: "_TripletReader", progress: Progress) -> AsyncIterator[Triplet]:
    """Yield the examples of all groups, in order."""
    done = 0
    for group in planned.groups:
        examples = await reader.read(group)
        done += len(examples)
        progress("writing", examples=done, of=planned.examples)
        for example in examples:
            yield example


@dataclass(slots=True)
class _TripletReader:
    """A reader of the examples of a group; it reads spectra and energies once for all cameras of a batch."""

    sources: DatasetSources
    _batch: str = ""
    _blocks: dict[BlockRef, Block] = field(default_factory=dict)

    async def read(self, group: Group) -> list[Triplet]:
        if group.batch != self._batch:
            self._batch, self._blocks = group.batch, {}
        count = len(group.shots)
        frame, spectrum = _shapes(self.sources.facility)
        images = np.zeros((count, *frame), np.uint16)
        spectra = np.full((count, *spectrum), np.nan, np.float32)
        energies = np.full(count, np.nan, np.float32)
        await _fill(images, group.image, self._fetch, lambda block: block.arrays["image"])
        await _fill(spectra, group.spectrum, self._remember, lambda block: block.arrays["spectrum"])
        await _fill(energies, group.energy, self._remember, _energies)
        return examples_of(group, images, spectra, energies)

    async def _remember(self, ref: BlockRef) -> Block:
        if ref not in self._blocks:
            self._blocks[ref] = await self._fetch(ref)
        return self._blocks[ref]

    async def _fetch(self, ref: BlockRef) -> Block:
        try:
            return await fetch_block(self.sources.store, ref)
        except BlockGone as error:
            raise DatasetError(
                f"the block {ref.key} expired while the set was made: make it again"
            ) from error


async def _fill(
    values: NDArray[np.generic],
    column: MemberColumn,
    fetch: Callable[[BlockRef], Awaitable[Block]],
    take: Callable[[Block], NDArray[np.generic]],
) -> None:
    """Copy the records of a column into their places; absent ones are left unchanged."""
    sources, rows = np.array(column.source), np.array(column.row)
    for number, ref in enumerate(column.blocks):
        where = sources == number
        values[where] = take(await fetch(ref))[rows[where]]


def _energies(block: Block) -> NDArray[np.float64]:
    return measure_energies(block.arrays["energy1"], block.arrays["energy2"])["energy"]
