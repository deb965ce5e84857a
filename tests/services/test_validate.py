"""validate as a whole, on servers in memory."""

import json

from tests.support.bus import Waiting
from tests.support.faults import survived_every_fault
from tests.support.world import World

from .plays import validate

OTHER = "LA_FSD-Camera_9-Camera-9"


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
        "update_many records",
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


async def test_a_device_that_a_later_version_of_a_file_lacks_has_no_records_any_more(ingested: World) -> None:
    world = ingested.fork()
    world.keep_only("validate", b"Camera_1")
    [first] = world.broker.queues["validate"]
    known = json.loads(first.body)
    [device] = known["devices"]
    also = {**device, "device": OTHER}
    later = {**known["object"], "object_id": "later", "arrived_at": known["object"]["arrived_at"] + 1}
    world.broker.queues["validate"].clear()
    for object_, devices in ((known["object"], [device, also]), (later, [device])):
        world.broker.queues["validate"].append(
            Waiting(json.dumps({**known, "object": object_, "devices": devices}).encode())
        )
    await validate(world)
    [file] = {document["object_key"] for document in world.documents("records")}
    records = world.archive.records
    rows = {each.device: (each.object_id, each.rows) async for each in records.rows([file])}
    states = await records.of_device(OTHER, 0, 2**42)
    assert rows == {device["device"]: ("later", 3), OTHER: ("later", 0)}
    assert not len(states.times)
