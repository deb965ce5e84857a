"""The past as the archive and the object store keep it, read into arrays."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np

from shotwatch_common.archive import Archive
from shotwatch_common.blocks import read_block
from shotwatch_common.contracts import ABSENT, VALID, BlockRef, Member
from shotwatch_common.facility import Facility, PlaceRoster
from shotwatch_common.pulses import epoch_ms
from shotwatch_common.store import ObjectGone, ObjectStore
from shotwatch_common.vocabulary import DeviceKind
from shotwatch_detector.arrays import Features, Frames, Values
from shotwatch_detector.severity import RULE_KINDS
from shotwatch_training.domain.dataset import evenly
from shotwatch_training.domain.history import CameraHistory, History, PlaceHistory
from shotwatch_training.settings import Recipe

SLICES = 20
"""A long period is sampled in so many slices, so that few blocks are read for many shots."""
SHOTS_PER_PLACE = 1000
READERS = 4
"""Blocks, or shots, that are read at a time."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the frame of a shot lies."""

    pulse: int
    row: int


Sources = Mapping[str, Mapping[BlockRef, Sequence[_Source]]]
"""Camera → block → the frames that are wanted of it."""


class Past:
    """Reads normal shots: complete, judged, and without any anomaly that a rule found."""

    def __init__(self, archive: Archive, store: ObjectStore, facility: Facility) -> None:
        self._archive = archive
        self._store = store
        self._facility = facility
        self._readers = asyncio.Semaphore(READERS)

    async def read(self, recipe: Recipe) -> History:
        """The history that a recipe asks for."""
        rosters = [roster for roster in self._facility.places if _asked_for(roster, recipe.places)]
        found = [(roster, await self._normal_shots(roster, recipe)) for roster in rosters]
        places = [await self._place(roster, shots) for roster, shots in found if shots]
        cameras = [
            camera
            for _, shots in found
            for camera in await self._cameras(_sample(shots, recipe.frames_per_camera))
        ]
        return History(tuple(places), tuple(cameras))

    async def _period(self, recipe: Recipe, query: Document) -> tuple[int, int]:
        """Epoch ms; without bounds in the recipe all that there is of the place."""
        now = epoch_ms(datetime.now(UTC))
        oldest = await self._archive.shots.page(query, 0, now, 1)
        newest = await self._archive.shots.page(query, 0, now, 1, newest_first=True)
        start = epoch_ms(recipe.start) if recipe.start else next((shot["pulse"] for shot in oldest), now)
        end = epoch_ms(recipe.end) if recipe.end else next((shot["pulse"] + 1 for shot in newest), now)
        return start, end

    async def _normal_shots(self, roster: PlaceRoster, recipe: Recipe) -> list[Document]:
        query = {"frontend": roster.frontend, "amp": roster.amp, "arm": roster.arm}
        start, end = await self._period(recipe, query)
        shots: list[Document] = []
        for begin, stop in _slices(start, end):
            page = await self._archive.shots.page(query, begin, stop, SHOTS_PER_PLACE // SLICES)
            shots += [shot for shot in page if _is_normal(shot, roster)]
        return shots

    async def _place(self, roster: PlaceRoster, shots: Sequence[Document]) -> PlaceHistory:
        times = np.array([shot["pulse"] for shot in shots], np.int64)
        batches = dict.fromkeys(shot["batch"] for shot in shots)
        measured = {batch: await self._archive.measurements.of_batch(batch) for batch in batches}
        return PlaceHistory(str(roster.place), times, _columns(shots, measured))

    async def _cameras(self, shots: Sequence[Document]) -> list[CameraHistory]:
        sources = await self._sources(shots)
        return [await self._camera(device, blocks) for device, blocks in sources.items()]

    async def _sources(self, shots: Sequence[Document]) -> Sources:
        sources: dict[str, dict[BlockRef, list[_Source]]] = defaultdict(lambda: defaultdict(list))
        for batch_id in dict.fromkeys(shot["batch"] for shot in shots):
            batch = await self._archive.batches.find(batch_id)
            chosen = [(shot["pulse"], shot["index"]) for shot in shots if shot["batch"] == batch_id]
            for member in batch.members if batch else ():
                if member.kind is DeviceKind.CAMERA:
                    for block, source in _frames_of(member, chosen):
                        sources[member.device][block].append(source)
        return sources

    async def _camera(self, device: str, blocks: Mapping[BlockRef, Sequence[_Source]]) -> CameraHistory:
        read = await asyncio.gather(*(self._frames(ref, wanted) for ref, wanted in blocks.items()))
        there = [
            (wanted, frames)
            for wanted, frames in zip(blocks.values(), read, strict=True)
            if frames is not None
        ]
        times = np.array([source.pulse for wanted, _ in there for source in wanted], np.int64)
        order = np.argsort(times)
        frames = np.concatenate([frames for _, frames in there]) if there else np.empty((0, 0, 0), np.uint16)
        return CameraHistory(device, times[order], frames[order])

    async def _frames(self, ref: BlockRef, wanted: Sequence[_Source]) -> Frames | None:
        """Some rows of a block; None when the block has expired."""
        async with self._readers:
            try:
                data = await self._store.get(ref.bucket, ref.key)
            except ObjectGone:
                return None
            images: Frames = read_block(data).arrays["image"].astype(np.uint16, copy=False)
            return images[[source.row for source in wanted]]


async def read_history(archive: Archive, store: ObjectStore, facility: Facility, recipe: Recipe) -> History:
    """Normal shots and a sample of their frames."""
    return await Past(archive, store, facility).read(recipe)


def _asked_for(roster: PlaceRoster, places: Sequence[str]) -> bool:
    return not places or str(roster.place) in places


def _slices(start: int, end: int) -> Iterator[tuple[int, int]]:
    edges = np.linspace(start, end, SLICES + 1).astype(np.int64).tolist()
    return pairwise(edges)


def _is_normal(shot: Document, roster: PlaceRoster) -> bool:
    return (
        shot["interval"] == roster.interval
        and shot["complete"]
        and not RULE_KINDS.intersection(shot["kinds"])
    )


def _sample(shots: Sequence[Document], most: int) -> list[Document]:
    return [shots[n] for n in evenly(len(shots), most).tolist()] if shots else []


def _columns(
    shots: Sequence[Document], measured: Mapping[str, Mapping[str, Features]]
) -> dict[str, Features]:
    """Features of shots as columns (n,), NaN where a shot has none; `measured` by batch and device."""
    columns: dict[str, dict[str, Values]] = defaultdict(dict)
    for batch, devices in measured.items():
        where = [n for n, shot in enumerate(shots) if shot["batch"] == batch]
        rows = [shots[n]["index"] for n in where]
        for device, features in devices.items():
            for name, values in features.items():
                columns[device].setdefault(name, np.full(len(shots), np.nan))[where] = values[rows]
    return dict(columns)


def _frames_of(member: Member, shots: Iterable[tuple[int, int]]) -> Iterator[tuple[BlockRef, _Source]]:
    """Block and row of the valid frames of one camera; `shots` are (pulse, index in the batch)."""
    for pulse, n in shots:
        if member.source[n] != ABSENT and member.verdict[n] == VALID:
            yield member.blocks[member.source[n]], _Source(pulse, member.row[n])
