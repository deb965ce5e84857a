"""features as a whole, on servers in memory."""

import pytest

from shotwatch_features import service
from tests.support.bus import Waiting
from tests.support.faults import differences, survived_every_fault
from tests.support.world import World

from .conftest import SERIES
from .plays import features


@pytest.fixture
def cheap_details(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detailed measurements take seconds; here only matters when they are made."""
    monkeypatch.setattr(
        service, "measure_camera_in_detail", lambda arrays, _known: {"sum": arrays["image"].sum((1, 2))}
    )


@pytest.mark.usefixtures("cheap_details")
async def test_it_stores_the_features_then_publishes_then_measures_in_detail(joined: World) -> None:
    done = await survived_every_fault(joined, features)
    assert done == [
        "bulk_write measurements",
        "publish inference",
        "bulk_write measurements",
        "update_one batches.detailed_at",
        "acknowledge features",
    ]


@pytest.mark.usefixtures("cheap_details")
async def test_the_features_do_not_depend_on_the_slices_in_which_they_are_measured(
    joined: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sliced = joined.fork(), joined.fork()
    await features(whole)
    monkeypatch.setattr(service, "SLICE", 1)
    await features(sliced)
    assert not list(differences(sliced.outcome(), whole.outcome()))


@pytest.mark.usefixtures("cheap_details")
async def test_flagged_shots_are_measured_in_detail_whatever_happens(joined: World) -> None:
    world = joined.fork()
    world.broker.queues["features"].clear()
    [batch] = world.documents("batches")
    flagged = f'{{"batch_id": "{batch["_id"]}", "shots": [0]}}'
    world.broker.queues["detail"].append(Waiting(flagged.encode()))
    done = await survived_every_fault(world, features)
    assert done == [
        "bulk_write measurements",
        "update_one batches.detailed_at",
        "acknowledge detail",
    ]


async def test_a_block_that_is_not_there_is_waited_for_and_a_batch_that_is_not_is_a_dead_letter(
    joined: World,
) -> None:
    world = joined.fork()
    world.store.buckets["blocks"].clear()
    world.broker.queues["detail"].append(Waiting(b'{"batch_id": "none", "shots": [0]}'))
    await features(world)
    [lost] = world.broker.dead["features"]
    assert (lost.attempt, lost.reason.partition(" ")[0]) == (22, "gave")
    [batch] = world.documents("batches")
    assert batch["dead_lettered"].startswith("features: gave up after 22 attempts")
    [unknown] = world.broker.dead["detail"]
    assert unknown.reason == "unknown_batch: there is no batch none"
    assert str(SERIES) in batch["window"]
