"""Making a training set: choose shots, find their records, write shards, and last the manifest.

The blocks of one batch and the examples of one shard are in memory at a time, whatever the size of the set.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotwatch_common.archive import Archive
from shotwatch_common.blocks import Block, read_block
from shotwatch_common.contracts import BlockRef
from shotwatch_common.facility import Facility, PlaceRoster
from shotwatch_common.pulses import epoch_now, instant
from shotwatch_common.store import ObjectGone, ObjectStore
from shotwatch_common.vocabulary import AnomalyKind, DeviceKind
from shotwatch_physics.energy import measure_energies
from shotwatch_training.dataset_store import DatasetError, DatasetStore, ask_all, shard_key
from shotwatch_training.domain.manifest import (
    Column,
    Counts,
    Group,
    Manifest,
    Query,
    RawObject,
    Shard,
    features_of,
)
from shotwatch_training.domain.triplets import Example, Shot, groups_of, matches, sampled, without

PER_SHARD = 2000
"""Examples; 70 MB with frames of 102 x 128."""
_STEP_MS = 600_000
"""Shots are looked up ten minutes at a time: a short range is what every server answers fast."""

Progress = Callable[..., None]
"""Called as progress(step, figure=…, …)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What sets are made from."""

    archive: Archive
    store: ObjectStore
    facility: Facility
    data_bucket: str
    """Where raw objects lie."""


async def make_set(
    name: str, query: Query, sources: Sources, sets: DatasetStore, progress: Progress, per_shard: int = PER_SHARD
) -> Manifest:
    """Make a set of what the query chooses; returns its manifest.

    Raises:
        DatasetError: the name is taken, there is nothing to write, or a block expired meanwhile.
    """
    await sets.reserve(name)
    progress("choosing")
    shots = sampled([shot async for shot in _chosen(query, sources)], query.most)
    if not shots:
        raise DatasetError("no shot matches: ask for another time, other places or other kinds of anomaly")
    progress("planning", shots=len(shots))
    groups, expired = await _planned(shots, sources)
    if not groups:
        raise DatasetError(
            f"{len(shots)} shots match, but no valid frame of theirs can be read: the blocks of {expired} "
            "have expired; upload their files again, or ask for another time"
        )
    raw_objects = await _raw_objects(groups, sources)
    shards = await _write(name, groups, sources, sets, progress, per_shard)
    manifest = Manifest(
        name=name,
        facility=sources.facility.name,
        code_version=version("shotwatch-training"),
        made_at=epoch_now(),
        query=query,
        counts=_counts(shots, groups, expired),
        features=features_of(*_shapes(sources.facility)),
        shards=shards,
        raw_objects=raw_objects,
        groups=groups,
    )
    await sets.publish(manifest)
    return manifest


async def _chosen(query: Query, sources: Sources) -> AsyncIterator[Shot]:
    """The shots that match, place by place, in the order of their pulses."""
    for roster in sources.facility.places:
        if not query.places or str(roster.place) in query.places:
            async for found in _recorded(roster, query, sources.archive):
                if found["interval"] == roster.interval and matches(found, query):
                    yield _shot(found)


async def _recorded(roster: PlaceRoster, query: Query, archive: Archive) -> AsyncIterator[Mapping[str, Any]]:
    place = {"frontend": roster.frontend, "amp": roster.amp, "arm": roster.arm}
    end = epoch_now() if query.end is None else query.end
    begin = query.start or 0
    while begin < end:
        stop = min(begin + _STEP_MS, end)
        page = await archive.shots.page(place, begin, stop, 0)
        for shot in page:
            yield shot
        begin = stop if page else await _next_pulse(archive, place, stop, end)


async def _next_pulse(archive: Archive, place: Mapping[str, str], begin: int, end: int) -> int:
    """Over a pause of any length in one step; `end` when nothing comes after it."""
    later = await archive.shots.page(place, begin, end, 1)
    return int(later[0]["pulse"]) if later else end


def _shot(found: Mapping[str, Any]) -> Shot:
    kinds = tuple(map(AnomalyKind, found["kinds"]))
    return Shot(found["_id"], found["revision"], kinds, found["batch"], found["index"])


async def _planned(shots: Sequence[Shot], sources: Sources) -> tuple[list[Group], int]:
    """The examples of these shots, and how many are left out as their blocks have expired."""
    batches: dict[str, list[Shot]] = defaultdict(list)
    for shot in shots:
        batches[shot.batch].append(shot)
    planned: list[Group] = []
    expired = 0
    for batch_id, chosen in batches.items():
        batch = await sources.archive.batches.find(batch_id)
        groups = groups_of(batch, chosen) if batch else []
        gone = await _gone(groups, sources.store)
        kept = [without(group, gone) for group in groups]
        planned += [group for group in kept if group.shots]
        expired += _examples(groups) - _examples(kept)
    return planned, expired


async def _gone(groups: Sequence[Group], store: ObjectStore) -> set[BlockRef]:
    blocks = dict.fromkeys(block for group in groups for block in group.blocks)
    etags = await ask_all(blocks, lambda block: store.etag(block.bucket, block.key))
    return {block for block, etag in etags.items() if etag is None}


async def _raw_objects(groups: Sequence[Group], sources: Sources) -> list[RawObject]:
    """Where ingest has put the files that the blocks were made from."""
    origins = {block.object_id: block.object_key for group in groups for block in group.blocks}
    named = {identity: sources.facility.file_name(key) for identity, key in origins.items()}
    keys = {
        identity: f"{name.starts_at:%Y-%m-%d}/{origins[identity]}" for identity, name in named.items() if name
    }
    bucket = sources.data_bucket
    etags = await ask_all(keys.values(), lambda key: sources.store.etag(bucket, key))
    return [
        RawObject(object_id=identity, bucket=bucket, key=key, etag=etags[key])
        for identity, key in keys.items()
    ]


async def _write(
    name: str,
    groups: Sequence[Group],
    sources: Sources,
    sets: DatasetStore,
    progress: Progress,
    per_shard: int,
) -> list[Shard]:
    from shotwatch_training.tfrecords import write_shard  # TensorFlow takes seconds to import

    total = _examples(groups)
    sizes = [min(per_shard, total - first) for first in range(0, total, per_shard)]
    examples = _read(groups, _Reader(sources), progress)
    shards = []
    with TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            path = Path(folder, "shard.tfrecord")
            await asyncio.to_thread(write_shard, path, [await anext(examples) for _ in range(size)])
            shards.append(await sets.put_shard(shard_key(name, number, len(sizes)), path, size))
    return shards


async def _read(groups: Sequence[Group], reader: "_Reader", progress: Progress) -> AsyncIterator[Example]:
    done, total = 0, _examples(groups)
    for group in groups:
        progress("writing", examples=done, of=total)
        for example in await reader.read(group):
            yield example
        done += len(group.shots)


@dataclass(slots=True)
class _Reader:
    """Reads the examples of a group; spectra and energies are read once for all cameras of a batch."""

    sources: Sources
    _batch: str = ""
    _blocks: dict[BlockRef, Block] = field(default_factory=dict)

    async def read(self, group: Group) -> Iterator[Example]:
        if group.batch != self._batch:
            self._batch, self._blocks = group.batch, {}
        image, spectrum = _shapes(self.sources.facility)
        images = np.zeros((len(group.shots), *image), np.uint16)
        spectra = np.full((len(group.shots), *spectrum), np.nan, np.float32)
        energies = np.full(len(group.shots), np.nan, np.float32)
        await _fill(images, group.image, self._fetch, lambda block: block.arrays["image"])
        await _fill(spectra, group.spectrum, self._remember, lambda block: block.arrays["spectrum"])
        await _fill(energies, group.energy, self._remember, _energies)
        return _examples_of(group, images, spectra, energies)

    async def _remember(self, ref: BlockRef) -> Block:
        if ref not in self._blocks:
            self._blocks[ref] = await self._fetch(ref)
        return self._blocks[ref]

    async def _fetch(self, ref: BlockRef) -> Block:
        try:
            return read_block(await self.sources.store.get(ref.bucket, ref.key))
        except ObjectGone as error:
            raise DatasetError(f"the block {ref.key} expired while the set was made: make it again") from error


async def _fill(values: NDArray[Any], column: Column, read: Any, take: Callable[[Block], NDArray[Any]]) -> None:
    """Put the column's records where they belong; the rest stays as it is."""
    sources, rows = np.array(column.source), np.array(column.row)
    for number, ref in enumerate(column.blocks):
        where = sources == number
        values[where] = take(await read(ref))[rows[where]]


def _energies(block: Block) -> NDArray[np.float64]:
    return measure_energies(block.arrays["energy1"], block.arrays["energy2"])["energy"]
