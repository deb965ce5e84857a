"""The tortures: each feeds an input to the arena and breaks something meanwhile."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote_plus

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import QueueEmpty

from shotwatch_common.topology import STAGES
from shotwatch_shots.vocabulary import ObjectState
from tests.broker import TOPOLOGY

from .arena import FOREVER_MS, Arena, tap_of, until
from .inputs import BIG, REPOSITORY, SMALL

OUTAGE_S = 30.0
UNDER_WAY = 8
"""So many files were read when a server is broken."""
CORPUS = REPOSITORY.parent / "shared" / "data" / "malformed_hdf5"
GARBAGE = (b"", b"garbage", b"{}", b"[" * 100_000, b'{"object": null}', b"\xff\x00" * 5000)
_COPIES = 3
_GROWTH_MIB = 100
_CUTS, _CUT_S = 3, 5.0
_DELAY_S, _BYTES_PER_S = 0.1, 500_000
"""A link across a country, over which many talk."""


@dataclass(frozen=True, slots=True)
class Inflicted:
    """What was done, and what else than the input it brought in."""

    faults: int
    more: Mapping[ObjectState, int] = field(default_factory=dict)
    """Further objects, by the state in which they must end."""
    parked: int = 0


@dataclass(frozen=True, slots=True)
class Torture:
    """`inflict` returns at the end of the fault."""

    name: str
    inflict: Callable[[Arena], Awaitable[Inflicted]]
    input: str = BIG
    revises: bool = False
    """Shots are judged anew on the way; what counts is what they come to."""
    restarts: bool = True
    """Whether services may die of it."""
    known_hole: str = ""
    """Why it cannot be borne yet."""


async def die_at(point: str, arena: Arena) -> Inflicted:
    """A service dies twice at its worst moment, under load."""
    armed = arena.arm(point)

    async def fired() -> bool:
        return not armed.exists()

    await arena.upload(arena.inputs[BIG].files)
    await until(fired, f"somebody died at {point}")
    arena.arm(point)
    await until(fired, f"somebody died at {point} again")
    return Inflicted(2)


async def die_anywhere(service: str, arena: Arena) -> Inflicted:
    """A replica of a service dies at random moments."""
    kills = 4
    await arena.upload(arena.inputs[BIG].files)
    await arena.ingested(UNDER_WAY)
    for _ in range(kills):
        await asyncio.sleep(arena.chance.uniform(0.2, 2.5))
        living = [each.pid for each in arena.processes(service) if each.pid is not None]
        if living:
            with suppress(ProcessLookupError):
                os.kill(arena.chance.choice(living), signal.SIGKILL)
    return Inflicted(kills)


async def die_while_away(service: str, server: str, arena: Arena) -> Inflicted:
    """All replicas of a service die, and what they ask at their start does not answer for a while."""
    arena.signal(server, signal.SIGSTOP)
    try:
        arena.signal(service, signal.SIGKILL)
        await arena.upload(arena.inputs[BIG].files)
        await asyncio.sleep(OUTAGE_S)
    finally:
        arena.signal(server, signal.SIGCONT)
    return Inflicted(len(arena.processes(service)))


async def killed(server: str, arena: Arena) -> Inflicted:
    """A server dies and is started again."""
    await _under_load(arena)
    before = arena.restarts()[server]
    arena.signal(server, signal.SIGKILL)

    async def again() -> bool:
        return arena.restarts()[server] > before

    await until(again, f"{server} started again")
    await arena.ready(server)
    return Inflicted(1)


async def frozen(server: str, arena: Arena) -> Inflicted:
    """A server answers nothing for a while, its connections stay open."""
    await _under_load(arena)
    arena.signal(server, signal.SIGSTOP)
    try:
        await asyncio.sleep(OUTAGE_S)
    finally:
        arena.signal(server, signal.SIGCONT)
    return Inflicted(1)


async def cut_off(server: str, arena: Arena) -> Inflicted:
    """The link to a server is cut, again and again; nobody can connect for a while."""
    await _under_load(arena)
    broken = 0
    for _ in range(_CUTS):
        broken += await arena.links[server].cut(_CUT_S)
        await asyncio.sleep(arena.chance.uniform(0.5, 3))
    assert broken, f"the services come to the {server} by the link"
    return Inflicted(broken)


async def away(server: str, arena: Arena) -> Inflicted:
    """Nobody can connect to a server for a minute: what is at work is held, and no attempt is used up."""
    await _under_load(arena)
    cut = asyncio.create_task(arena.links[server].cut(2 * OUTAGE_S))
    await asyncio.sleep(OUTAGE_S)
    messages = await arena.messages()
    waiting = {name: count for name, count in messages.items() if ".retry." in name and count}
    assert messages
    assert not waiting
    broken = await cut
    assert broken, f"the services come to the {server} by the link"
    return Inflicted(broken)


async def swallowed(server: str, arena: Arena) -> Inflicted:
    """The link to a server loses all that is sent, and tells nobody."""
    await _under_load(arena)
    broken = await arena.links[server].swallow(OUTAGE_S)
    assert broken, f"the services come to the {server} by the link"
    return Inflicted(broken)


async def slowed(server: str, arena: Arena) -> Inflicted:
    """All files are read over a slow link."""
    files = arena.inputs[BIG].files
    with arena.links[server].slowed(_DELAY_S, _BYTES_PER_S):
        await arena.upload(files)
        await arena.ingested(len(files))
    return Inflicted(1)


async def stopped(stage: str, arena: Arena) -> Inflicted:
    """A stage does nothing until all before it is done: what waits for it is in bounds, and is seen."""
    at_first = arena.resident_mib()
    arena.signal(stage, signal.SIGSTOP)
    try:
        await arena.upload(arena.inputs[BIG].files)
        await arena.ingested(len(arena.inputs[BIG].files))
        await arena.only_waits(stage)
        waiting = (await arena.messages())[TOPOLOGY.queue_of(stage).name]
        assert waiting <= len(await arena.archive.batches.overdue(FOREVER_MS)), "no message waits twice"
        await arena.unready(stage)
        grown = {name: now - at_first[name] for name, now in arena.resident_mib().items()}
    finally:
        arena.signal(stage, signal.SIGCONT)
    assert max(grown.values()) <= _GROWTH_MIB, f"what waits lies in the broker, in nobody's memory: {grown}"
    return Inflicted(1)


async def deleted(stage: str, arena: Arena) -> Inflicted:
    """A stage's queue is gone: its replicas end, and wait until the set-up has declared it again."""
    before, name = arena.restarts(), TOPOLOGY.queue_of(stage).name

    async def ended() -> bool:
        return all(each.restarts > before[each.name] for each in arena.processes(stage))

    async with await aio_pika.connect(arena.broker_url) as connection:
        await (await connection.channel()).queue_delete(name)
        await arena.upload(arena.inputs[BIG].files)
        await until(ended, f"{stage} ended")
        await TOPOLOGY.declare(connection)
    await arena.ready(stage)
    return Inflicted(1)


async def thrice_and_shuffled(arena: Arena) -> Inflicted:
    """Every message of every stage comes three times, in random order."""
    async with await aio_pika.connect(arena.broker_url) as connection, asyncio.TaskGroup() as group:
        channel = await connection.channel(publisher_confirms=True)
        over = asyncio.Event()
        taps = [group.create_task(_shuffle(channel, stage, arena, over)) for stage in STAGES[:5]]
        await arena.upload(arena.chance.sample(arena.inputs[BIG].files, len(arena.inputs[BIG].files)))
        await arena.at_rest(len(arena.inputs[BIG].files))
        over.set()
    copies = sum(tap.result() for tap in taps)
    return Inflicted(copies)


async def late(arena: Arena, after_deadline: bool) -> Inflicted:
    """One member of every shot comes when the others were joined long ago."""
    *punctual, straggler = arena.inputs[SMALL].files
    await arena.upload(punctual)
    if after_deadline:
        await arena.at_rest(len(punctual))
    else:
        await arena.ingested(len(punctual))
    await arena.upload([straggler])
    return Inflicted(1)


async def behind(service: str, arena: Arena) -> Inflicted:
    """A member comes in time, and a service gets to it when its shots would have been closed without it."""
    *punctual, straggler = arena.inputs[SMALL].files
    await arena.upload(punctual)
    await arena.ingested(len(punctual))
    arena.signal(service, signal.SIGSTOP)
    try:
        await arena.upload([straggler])
        await asyncio.sleep(OUTAGE_S)
    finally:
        arena.signal(service, signal.SIGCONT)
    return Inflicted(1)


async def behind_a_hole(server: str, arena: Arena) -> Inflicted:
    """A member comes in time, and nobody gets to a server until its shots would have been closed."""
    *punctual, straggler = arena.inputs[SMALL].files
    await arena.upload(punctual)
    await arena.ingested(len(punctual))
    hole = asyncio.create_task(arena.links[server].swallow(OUTAGE_S))
    await arena.upload([straggler])
    return Inflicted(await hole)


async def notified_of_half(arena: Arena) -> Inflicted:
    """Of every second object comes a notification, three times and late; of the others none."""
    files, bucket = arena.inputs[BIG].files, arena.settings.inbox_bucket
    notifications = [_notification(bucket, path.name, path.read_bytes()) for path in files[::2]]
    await arena.upload(files)
    async with await aio_pika.connect(arena.broker_url) as connection:
        exchange = await (await connection.channel()).get_exchange(TOPOLOGY.objects.name)
        for body in notifications * 3:
            await exchange.publish(aio_pika.Message(body), routing_key="")
    return Inflicted(len(files) - len(files[::2]))


async def sent_again(arena: Arena) -> Inflicted:
    """Files come with wrong content first, and are sent again when it was judged."""
    files, others = arena.inputs[SMALL].files, {path.name: path for path in arena.inputs[SMALL].others}
    wrong = [others[path.name] for path in files[:3]]
    await arena.upload([*wrong, *files[3:]])
    await arena.at_rest(len(files))
    await arena.upload(files[:3])
    return Inflicted(len(wrong), {ObjectState.INGESTED: len(wrong)})


async def hostile_files(arena: Arena) -> Inflicted:
    """Malformed files under good names lie between the good ones."""
    hostile = sorted(CORPUS.rglob("*.h5"))
    if not hostile:
        pytest.skip(f"there is no {CORPUS.name}")
    good = list(arena.inputs[BIG].files)
    for n, path in enumerate(hostile):
        await arena.put(f"LA_Hostile-{n}_1s_snapshot_2022-07-01_06-00-00.h5", path.read_bytes())
        if n % 4 == 0 and good:
            await arena.upload([good.pop()])
    await arena.upload(good)
    return Inflicted(len(hostile), {ObjectState.REJECTED: len(hostile)})


async def poison_first(arena: Arena) -> Inflicted:
    """Messages that are none lie in every queue before the good ones."""
    async with await aio_pika.connect(arena.broker_url) as connection:
        channel = await connection.channel()
        for stage in STAGES:
            for body in GARBAGE:
                await channel.default_exchange.publish(aio_pika.Message(body), TOPOLOGY.queue_of(stage).name)
    await arena.upload(arena.inputs[BIG].files)
    count = len(GARBAGE) * len(STAGES)
    return Inflicted(count, parked=count)


POINTS = (
    "ingest.after_blocks",
    "ingest.after_publish",
    "ingest.after_settle",
    "validate.after_publish",
    "aggregate.after_save",
    "aggregate.after_publish",
    "features.after_write",
    "features.after_publish",
    "features.after_examination",
    "inference.after_verdicts",
    "inference.after_booking",
    "announcing.after_reserve",
    "announcing.after_store",
    "announcing.after_publish",
    "inference.after_judged",
)
QUICK = (
    Torture("SIGKILL at aggregate.after_save", partial(die_at, "aggregate.after_save")),
    Torture("poison before good", poison_first, restarts=False),
)
TORTURES = (
    *(Torture(f"SIGKILL at {point}", partial(die_at, point)) for point in POINTS if point != POINTS[4]),
    Torture("SIGKILL of inference, anywhere", partial(die_anywhere, "inference")),
    Torture("SIGKILL of inference, no model registry", partial(die_while_away, "inference", "models")),
    Torture("broker killed", partial(killed, "broker")),
    Torture("database frozen 30 s", partial(frozen, "database")),
    Torture("database killed", partial(killed, "database")),
    Torture("store frozen 30 s", partial(frozen, "store")),
    Torture("store killed", partial(killed, "store")),
    Torture("link to the broker cut", partial(cut_off, "broker"), restarts=False),
    Torture("link to the database cut", partial(cut_off, "database")),
    Torture("database away for a minute", partial(away, "database")),
    Torture("store away for a minute", partial(away, "store")),
    Torture("link to the broker a black hole 30 s", partial(swallowed, "broker"), restarts=False),
    Torture("link to the database a black hole 30 s", partial(swallowed, "database")),
    Torture("link to the store slow", partial(slowed, "store"), restarts=False),
    Torture("features stopped", partial(stopped, "features"), restarts=False),
    Torture("queue of features deleted", partial(deleted, "features")),
    Torture("every message thrice, shuffled", thrice_and_shuffled, restarts=False),
    Torture("late before the deadline", partial(late, after_deadline=False), SMALL, restarts=False),
    Torture("late after it", partial(late, after_deadline=True), SMALL, revises=True, restarts=False),
    Torture("ingest frozen past the deadline", partial(behind, "ingest"), SMALL),
    Torture("validate frozen past the deadline", partial(behind, "validate"), SMALL),
    Torture("link to the store a black hole past the deadline", partial(behind_a_hole, "store"), SMALL),
    Torture("notifications lost", notified_of_half, restarts=False),
    Torture(
        "files sent again with other content",
        sent_again,
        SMALL,
        revises=True,
        restarts=False,
    ),
    Torture("malformed files beside good ones", hostile_files, restarts=False),
)


async def _under_load(arena: Arena) -> None:
    await arena.upload(arena.inputs[BIG].files)
    await arena.ingested(UNDER_WAY)


async def _shuffle(channel: AbstractChannel, stage: str, arena: Arena, over: asyncio.Event) -> int:
    """Stand between a stage's exchange and its queue; how many messages were put in beside the first ones."""
    more = 0
    async with _tapped(channel, stage) as tap:
        while not over.is_set():
            taken = [message async for message in _taken(tap)]
            for message in arena.chance.sample(taken * _COPIES, len(taken) * _COPIES):
                again = aio_pika.Message(message.body, headers=message.headers)
                again.delivery_mode = aio_pika.DeliveryMode.PERSISTENT
                await channel.default_exchange.publish(again, TOPOLOGY.queue_of(stage).name)
            for message in taken:
                await message.ack()
            more += len(taken) * (_COPIES - 1)
            await asyncio.sleep(0.5)
    return more


@asynccontextmanager
async def _tapped(channel: AbstractChannel, stage: str) -> AsyncIterator[AbstractQueue]:
    """A queue in the place of the stage's own."""
    exchange = await channel.get_exchange(TOPOLOGY.work.name)
    own = await channel.get_queue(TOPOLOGY.queue_of(stage).name)
    tap = await channel.declare_queue(tap_of(stage), durable=True)
    await tap.bind(exchange, stage)
    await own.unbind(exchange, stage)
    try:
        yield tap
    finally:
        await own.bind(exchange, stage)
        await tap.unbind(exchange, stage)
        await tap.delete()


async def _taken(tap: AbstractQueue) -> AsyncIterator[aio_pika.abc.AbstractIncomingMessage]:
    with suppress(QueueEmpty):
        while (message := await tap.get()) is not None:
            yield message


def _notification(bucket: str, key: str, content: bytes) -> bytes:
    """What an S3 server tells when an object was put."""
    etag = hashlib.md5(content).hexdigest()
    stored = {"key": quote_plus(key), "size": len(content), "eTag": etag, "sequencer": "1"}
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2022-07-02T11:00:00.000Z",
        "s3": {"bucket": {"name": bucket}, "object": stored},
    }
    envelope = {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}
    return json.dumps(envelope).encode()
