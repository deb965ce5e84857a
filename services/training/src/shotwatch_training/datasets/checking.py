"""Check of a stored training set: its shards match the manifest, and it could be made again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice

from shotwatch_common.archive import Archive
from shotwatch_shots.records import BlockRef
from shotwatch_training.datasets.store import DatasetError, DatasetStore, ask_all
from shotwatch_training.domain.manifest import DatasetManifest, RawObject
from shotwatch_training.progress import Progress

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    name: str
    shards: int
    broken: tuple[str, ...]
    """For each unusable shard, what is wrong with it."""
    blocks: int
    expired: int
    """Number of blocks that have expired, but whose raw files still exist unchanged."""
    lost: tuple[str, ...]
    """Keys of the blocks that cannot be made again."""
    revised: int
    """Number of shots that have a later revision than in the set."""

    @property
    def good(self) -> bool:
        """Whether the set can be trained on, and could be made again."""
        return not self.broken and not self.lost


async def check(
    manifest: DatasetManifest, sets: DatasetStore, archive: Archive, progress: Progress
) -> Checked:
    """Compare a set with its manifest, and the manifest with the present state of store and archive."""
    broken = [why async for why in _broken(manifest, sets, progress)]
    progress("searching for blocks")
    missing = await _missing(manifest, sets)
    raw = await _unchanged(manifest, sets, archive) if missing else set()
    lost = [block.key for block in missing if block.object_id not in raw]
    return Checked(
        name=manifest.name,
        shards=len(manifest.shards),
        broken=tuple(broken),
        blocks=len(manifest.blocks),
        expired=len(missing) - len(lost),
        lost=tuple(lost),
        revised=await _revised(manifest, archive),
    )


async def _broken(manifest: DatasetManifest, sets: DatasetStore, progress: Progress) -> AsyncIterator[str]:
    for number, shard in enumerate(manifest.shards, 1):
        try:
            await sets.get_shard(shard)
        except DatasetError as error:
            yield str(error)
        progress("checking", shards=number, of=len(manifest.shards))


async def _missing(manifest: DatasetManifest, sets: DatasetStore) -> list[BlockRef]:
    etags = await ask_all(manifest.blocks, lambda block: sets.objects.etag(block.bucket, block.key))
    return [block for block, etag in etags.items() if etag is None]


async def _unchanged(manifest: DatasetManifest, sets: DatasetStore, archive: Archive) -> set[str]:
    """Return the ids of the raw objects that are unchanged since the set was made, wherever they are now."""
    places = await archive.ledger.places([raw.object_id for raw in manifest.raw_objects])

    async def unchanged(raw: RawObject) -> bool:
        place = places.get(raw.object_id, (raw.bucket, raw.key))
        return raw.etag is not None and await sets.objects.etag(*place) == raw.etag

    return {raw.object_id for raw, same in (await ask_all(manifest.raw_objects, unchanged)).items() if same}


async def _revised(manifest: DatasetManifest, archive: Archive) -> int:
    known = {
        shot: revision
        for group in manifest.groups
        for shot, revision in zip(group.shots, group.revisions, strict=True)
    }
    shots, revised = iter(known), 0
    while some := list(islice(shots, _AT_ONCE)):
        now = await archive.shots.revisions(some)
        revised += sum(now.get(shot, 0) > known[shot] for shot in some)
    return revised
