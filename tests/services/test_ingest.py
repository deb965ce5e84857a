"""ingest as a whole, on servers in memory."""

import json
from typing import Any
from zlib import crc32

import pytest

from shotwatch_common import fetching
from shotwatch_common.notification import ArrivedObject, build_notification
from shotwatch_common.store import ObjectStore
from shotwatch_ingest import service
from shotwatch_ingest.reading import SMALL_BYTES
from shotwatch_shots.pulses import epoch_ms
from shotwatch_shots.vocabulary import ObjectState
from tests.support.bus import Waiting
from tests.support.faults import survived_every_fault
from tests.support.world import World

from .conftest import START
from .plays import ingest


@pytest.fixture
async def inbox(arrived: World) -> World:
    """One good file, one that is no snapshot, and one that is damaged."""
    world = arrived.fork()
    (good, stored), *_ = world.store.buckets["inbox"].items()
    world.store.buckets["inbox"] = {good: stored}
    await world.upload("notes.txt", b"nothing of ours")
    await world.upload(good.replace("08-00-00", "08-01-00"), stored.data[:1000])
    return world


async def test_every_object_leaves_the_inbox_for_its_place(inbox: World) -> None:
    world = inbox.fork()
    await ingest(world)
    outcome = world.outcome()
    assert outcome.objects["inbox"] == {}
    states = sorted(document["state"] for document in world.documents("objects"))
    assert states == sorted([ObjectState.INGESTED, ObjectState.IGNORED, ObjectState.REJECTED])
    for document in world.documents("objects"):
        assert document["location"]["key"] in outcome.objects[document["location"]["bucket"]]
    [sent] = outcome.messages["validate"]
    [device] = json.loads(sent)["devices"]
    assert device["block"]["crc32"] == crc32(outcome.objects["blocks"][device["block"]["key"]])


async def test_it_writes_blocks_settles_publishes_and_moves_and_survives_every_fault(inbox: World) -> None:
    world = inbox.fork()
    world.keep_in_inbox("08-00-00")
    done = await survived_every_fault(world, ingest)
    handled = done[done.index("publish ingest") + 1 :]
    assert [effect.partition("/")[0] for effect in handled] == [
        "update_many objects",
        "update_one objects.bucket",
        "put blocks",
        "copy to data",
        "update_one objects.state",
        "publish validate",
        "remove inbox",
        "acknowledge ingest",
    ]


@pytest.mark.parametrize("left", ["notes.txt", "08-01-00"])
async def test_what_cannot_be_read_is_set_aside_whatever_happens(inbox: World, left: str) -> None:
    world = inbox.fork()
    world.keep_in_inbox(left)
    done = await survived_every_fault(world, ingest)
    settled = done.index("update_one objects.state")
    assert any(effect.startswith("copy to ") for effect in done[settled - 2 : settled])
    assert done[settled + 1].startswith("remove inbox/")


@pytest.mark.parametrize("becomes", [b"the next version", None])
async def test_what_was_read_is_kept_although_the_inbox_holds_another_version_or_none(
    inbox: World, becomes: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = inbox.fork()
    world.keep_in_inbox("08-00-00")
    [(key, stored)] = world.store.buckets["inbox"].items()

    async def put_block(*block: Any) -> Any:
        written = await fetching.put_block(*block)
        world.store.buckets["inbox"].pop(key, None)
        if becomes is not None:
            await world.upload(key, becomes)
        return written

    monkeypatch.setattr(service, "put_block", put_block)
    await ingest(world)
    [read] = [each for each in world.documents("objects") if each["state"] == ObjectState.INGESTED]
    assert world.store.buckets["data"][read["location"]["key"]].data == stored.data
    later = {each["state"] for each in world.documents("objects")} - {ObjectState.INGESTED}
    assert later == ({ObjectState.REJECTED} if becomes else set())


async def test_a_file_that_is_replaced_while_it_is_set_aside_has_left_the_inbox(
    inbox: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody read it, so nobody has its bytes."""
    world = inbox.fork()
    world.keep_in_inbox("notes.txt")

    async def replaced(store: ObjectStore, source: tuple[str, str], *_: Any) -> bool:
        world.store.buckets["inbox"].pop(source[1], None)
        return False

    monkeypatch.setattr(ObjectStore, "copy_version", replaced)
    await ingest(world)
    [document] = world.documents("objects")
    assert (document["state"], document["location"]) == (ObjectState.IGNORED, None)


@pytest.mark.parametrize("size", [SMALL_BYTES, SMALL_BYTES + 1])
async def test_a_notification_of_a_large_file_is_passed_on_to_the_queue_of_large_files(
    inbox: World, size: int
) -> None:
    world = inbox.fork()
    world.keep_in_inbox("08-00-00")
    [(key, stored)] = world.store.buckets["inbox"].items()
    notification = build_notification(ArrivedObject("inbox", key, stored.etag, size, epoch_ms(START)))
    world.broker.queues["ingest"].append(Waiting(notification, express=True))
    done = await survived_every_fault(world, ingest)
    passed_on = ["publish ingest", "acknowledge ingest"] if size > SMALL_BYTES else []
    assert done[: len(passed_on)] == passed_on
    assert [effect for effect in done if effect.endswith(" ingest")] == [*passed_on, "acknowledge ingest"]


async def test_a_small_file_takes_the_express_queue_at_every_stage(
    ingested: World, validated: World, joined: World, measured: World
) -> None:
    passed = {"validate": ingested, "aggregate": validated, "features": joined, "inference": measured}
    for stage, world in passed.items():
        assert world.broker.queues[stage]
        assert all(message.express for message in world.broker.queues[stage])
