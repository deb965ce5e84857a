"""From a query to the examples of a training set, using the archive and the object store."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace

from shotwatch_common.archive import Archive
from shotwatch_common.clock import epoch_now
from shotwatch_common.store import ObjectStore
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.feedback import UNLABELLED
from shotwatch_shots.records import BlockRef
from shotwatch_shots.shot import JudgedShot, ShotFilter
from shotwatch_training.datasets.store import ask_all
from shotwatch_training.domain.manifest import Group, RawObject, ShotQuery
from shotwatch_training.domain.triplets import ChosenShot, groups_of, matches, sampled, without


@dataclass(frozen=True, slots=True)
class DatasetSources:
    """The sources from which training sets are made."""

    archive: Archive
    store: ObjectStore
    facility: Facility


@dataclass(frozen=True, slots=True)
class Plan:
    """The examples of a training set, by group."""

    groups: Sequence[Group]
    expired: int
    """Number of examples that were left out because one of their blocks has expired."""

    @property
    def examples(self) -> int:
        return sum(len(group.shots) for group in self.groups)


async def choose(query: ShotQuery, sources: DatasetSources) -> list[ChosenShot]:
    """Return the shots that match the query, by place, in order of their pulses."""
    return sampled([shot async for shot in _matching(query, sources)], query.most)


async def plan(shots: Sequence[ChosenShot], sources: DatasetSources) -> Plan:
    """Return the examples that can be made of these shots, by batch and camera."""
    batches: dict[str, list[ChosenShot]] = defaultdict(list)
    for shot in shots:
        batches[shot.batch].append(shot)
    plans = [await _plan_batch(batch, chosen, sources) for batch, chosen in batches.items()]
    return Plan([group for each in plans for group in each.groups], sum(each.expired for each in plans))


async def find_raw_objects(groups: Sequence[Group], sources: DatasetSources) -> list[RawObject]:
    """Return the files from which the groups' blocks were made, at their locations in the ledger.

    A file without a location is left out, for example one that was replaced before it was read again.
    """
    identities = {block.object_id: None for group in groups for block in group.blocks}
    places = await sources.archive.ledger.places(list(identities))
    etags = await ask_all(set(places.values()), lambda place: sources.store.etag(*place))
    return [
        RawObject(object_id=identity, bucket=place[0], key=place[1], etag=etags[place])
        for identity, place in places.items()
    ]


async def _matching(query: ShotQuery, sources: DatasetSources) -> AsyncIterator[ChosenShot]:
    for expected in sources.facility.places:
        if not query.places or str(expected.place) in query.places:
            async for found in _recorded(expected, query, sources.archive):
                if matches(found, query):
                    yield _shot(found)


async def _recorded(
    expected: ExpectedDevices, query: ShotQuery, archive: Archive
) -> AsyncIterator[JudgedShot]:
    """Yield the expected shots of a place, with their kinds of anomaly corrected by people's labels."""
    wanted = ShotFilter(area=expected.place, interval=expected.interval)
    end = epoch_now() if query.end is None else query.end
    async for part in archive.shots.search(wanted, query.start or 0, end):
        labels = await archive.feedback.labels(part.shots) if part.shots else {}
        for shot in part.shots:
            kinds = labels.get(shot.id, UNLABELLED).corrected(shot.verdict.kinds)
            yield replace(shot, verdict=replace(shot.verdict, kinds=tuple(kinds)))


def _shot(found: JudgedShot) -> ChosenShot:
    return ChosenShot(found.id, found.revision, found.verdict.kinds, found.batch, found.index)


async def _plan_batch(batch_id: str, shots: Sequence[ChosenShot], sources: DatasetSources) -> Plan:
    batch = await sources.archive.batches.find(batch_id)
    whole = Plan(groups_of(batch, shots) if batch else [], 0)
    expired = await _expired({block for group in whole.groups for block in group.blocks}, sources.store)
    kept = [without(group, expired) for group in whole.groups] if expired else whole.groups
    left = Plan([group for group in kept if group.shots], 0)
    return Plan(left.groups, whole.examples - left.examples)


async def _expired(blocks: Collection[BlockRef], store: ObjectStore) -> set[BlockRef]:
    etags = await ask_all(blocks, lambda block: store.etag(block.bucket, block.key))
    return {block for block, etag in etags.items() if etag is None}
