"""aggregate as a whole, on servers in memory."""

import json

from tests.support.faults import survived_every_fault
from tests.support.world import World

from .conftest import SHOTS
from .plays import aggregate, ingest, validate


async def test_the_records_of_all_files_become_one_batch_of_complete_shots(validated: World) -> None:
    world = validated.fork()
    await aggregate(world)
    [sent] = world.outcome().messages["features"]
    batch = json.loads(sent)
    assert batch["complete"] == [True] * len(SHOTS)
    assert len(batch["members"]) == 5
    assert all(document["joined_at"] for document in world.documents("objects"))
    [window] = world.documents("windows")
    assert window["outbox"] == {}


async def test_it_saves_then_publishes_then_notes_and_survives_every_fault(validated: World) -> None:
    done = await survived_every_fault(validated, aggregate)
    assert done[-7:] == [
        "update_one windows.place",
        "update_one batches.window",
        "publish features",
        "update_one windows.outbox",
        "update_one windows.outbox_since",
        "update_one objects.off_grid",
        "acknowledge aggregate",
    ]


async def test_shots_that_lack_devices_close_late_and_survive_every_fault(arrived: World) -> None:
    world = arrived.fork()
    world.keep_in_inbox("Camera-1")
    await ingest(world)
    await validate(world)
    done = await survived_every_fault(world, aggregate)
    assert done.index("acknowledge aggregate") < done.index("publish features")
