"""Reconciliation on servers in memory: what it reads at once."""

from collections.abc import Sequence

import pytest

from shotwatch_common.archive.known_objects import KnownObjects
from shotwatch_common.settings import Settings
from shotwatch_operations.reconciliation import objects
from shotwatch_operations.reconciliation.collecting import Collector
from shotwatch_operations.reconciliation.context import Allowances
from shotwatch_shots.ledger import Entry
from shotwatch_shots.reconciliation.outcome import Outcome
from shotwatch_shots.reconciliation.sides import KnownObject
from shotwatch_shots.reconciliation.slices import Slice
from shotwatch_shots.records import ObjectRef
from shotwatch_shots.vocabulary import ObjectState
from tests.support.world import LASER, SERVERS, World

DAY = "2025-10-09"
OF_DAY = Slice.of_folder(DAY)
PAGE = 3


class NoQueues:
    """A broker without messages."""

    async def under_way(self, *_stages: str) -> bool:
        return False


@pytest.fixture
def read_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of objects that were read from the ledger at once, in pages of PAGE objects."""
    monkeypatch.setattr(objects, "PAGE", PAGE)
    numbers: list[int] = []
    located = KnownObjects.located

    async def counted(self: KnownObjects, after: str, last: str) -> list[KnownObject]:
        found = await located(self, after, last)
        numbers.append(len(found))
        return found

    monkeypatch.setattr(KnownObjects, "located", counted)
    return numbers


async def compared(world: World, known: Sequence[tuple[str, str]], held: Sequence[str]) -> Outcome:
    """Compare a ledger of such objects (id, key) with a data bucket of such keys."""
    for id_, key in known:
        await world.objects.put("data", f"{DAY}/{key}", b"x")
        etag = await world.objects.etag("data", f"{DAY}/{key}") or ""
        obj = ObjectRef(object_id=id_, bucket="inbox", key=key, etag=etag, size=1, arrived_at=1)
        await world.archive.ledger.enter(obj, "ingest")
        where = "data", f"{DAY}/{key}"
        await world.archive.ledger.settle_at(id_, Entry(ObjectState.INGESTED, "ingest"), where)
    world.store.buckets["data"] = {}
    for key in held:
        await world.objects.put("data", f"{DAY}/{key}", b"x")
    assert OF_DAY is not None
    allowances = Allowances(settling=-60_000)
    settings = Settings.model_validate(SERVERS)
    collector = Collector(world.archive, world.objects, LASER, settings, NoQueues(), allowances)
    return await collector.compare(OF_DAY)


async def test_a_bucket_that_lost_all_objects_is_compared_in_pages_and_each_is_named(
    read_at_once: list[int],
) -> None:
    known = [(f"id{n}", f"{n}.h5") for n in range(2 * PAGE + 2)]
    outcome = await compared(World(), known, held=[])
    assert [each.subject for each in outcome.imbalances] == [f"object {id_} ({key})" for id_, key in known]
    assert max(read_at_once) == PAGE


async def test_pages_end_between_objects_and_not_between_the_versions_of_one(read_at_once: list[int]) -> None:
    known = [("a", "0.h5"), ("b", "1.h5"), *((f"c{n}", "2.h5") for n in range(PAGE)), ("d", "3.h5")]
    outcome = await compared(World(), known, held=["0.h5", "1.h5", "2.h5", "2x.h5"])
    assert {each.subject for each in outcome.imbalances} == {f"data/{DAY}/2x.h5", "object d (3.h5)"}
    assert (outcome.counts["in_ledger"], outcome.counts["replaced"]) == (4, PAGE - 1)
    assert max(read_at_once) == 2 + PAGE
