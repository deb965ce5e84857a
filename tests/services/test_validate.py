"""validate as a whole, on servers in memory."""

import json

from tests.support.bus import Waiting
from tests.support.faults import survived_every_fault
from tests.support.world import World

from .plays import validate


async def test_every_record_gets_its_verdict_and_the_black_frame_is_refused(ingested: World) -> None:
    world = ingested.fork()
    await validate(world)
    outcome = world.outcome()
    sent = [json.loads(body) for body in outcome.messages["aggregate"]]
    verdicts = {device["device"]: device["verdict"] for file in sent for device in file["devices"]}
    assert sorted(verdicts.values()) == [[0, 0, 0]] * 4 + [[0, 1, 0]]
    assert len(outcome.documents["records"]) == 5
    assert not outcome.messages.get("validate")


async def test_it_publishes_first_then_writes_and_survives_every_fault(ingested: World) -> None:
    world = ingested.fork()
    world.keep_only("validate", b"Camera_1")
    assert await survived_every_fault(world, validate) == [
        "publish aggregate",
        "insert_one records",
        "update_one frames.time",
        "insert_one frames",
        "acknowledge validate",
    ]


async def test_a_message_that_is_no_ingested_file_is_a_dead_letter_and_harms_no_other(
    ingested: World,
) -> None:
    world = ingested.fork()
    world.broker.queues["validate"].appendleft(Waiting(b"{}"))
    await validate(world)
    [dead] = world.broker.dead["validate"]
    assert dead.reason.startswith("wrong_message: not a FileIngested")
    assert len(world.broker.queues["aggregate"]) == 5
