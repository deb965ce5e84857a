"""The fault injections: each feeds an input to the test bed and breaks something meanwhile."""

import asyncio
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
from faststream.rabbit import RabbitQueue

from shotwatch_common.topology import PATH, STAGES
from shotwatch_shots.vocabulary import ObjectState
from tests.broker import TOPOLOGY
from tests.support.etags import etag_of

from .bed import FOREVER_MS, FaultBed, tap_of, until
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
    dead_lettered: int = 0


@dataclass(frozen=True, slots=True)
class FaultInjection:
    """`inflict` returns at the end of the fault."""

    name: str
    inflict: Callable[[FaultBed], Awaitable[Inflicted]]
    input: str = BIG
    revises: bool = False
    """Shots are judged anew on the way; what counts is what they come to."""
    restarts: bool = True
    """Whether services may die of it."""
    known_hole: str = ""
    """Why it cannot be borne yet."""


async def die_at(point: str, bed: FaultBed) -> Inflicted:
    """A service dies twice at its worst moment, under load."""
    armed = bed.arm(point)

    async def fired() -> bool:
        return not armed.exists()

    await bed.upload(bed.inputs[BIG].files)
    await until(fired, f"somebody died at {point}")
    bed.arm(point)
    await until(fired, f"somebody died at {point} again")
    return Inflicted(2)


async def die_anywhere(service: str, bed: FaultBed) -> Inflicted:
    """A replica of a service dies at random moments."""
    kills = 4
    await bed.upload(bed.inputs[BIG].files)
    await bed.ingested(UNDER_WAY)
    for _ in range(kills):
        await asyncio.sleep(bed.chance.uniform(0.2, 2.5))
        living = [each.pid for each in bed.processes(service) if each.pid is not None]
        if living:
            with suppress(ProcessLookupError):
                os.kill(bed.chance.choice(living), signal.SIGKILL)
    return Inflicted(kills)


async def die_while_away(service: str, server: str, bed: FaultBed) -> Inflicted:
    """All replicas of a service die, and what they ask at their start does not answer for a while."""
    bed.signal(server, signal.SIGSTOP)
    try:
        bed.signal(service, signal.SIGKILL)
        await bed.upload(bed.inputs[BIG].files)
        await asyncio.sleep(OUTAGE_S)
    finally:
        bed.signal(server, signal.SIGCONT)
    return Inflicted(len(bed.processes(service)))


async def killed(server: str, bed: FaultBed) -> Inflicted:
    """A server dies and is started again."""
    await _under_load(bed)
    before = bed.restarts()[server]
    bed.signal(server, signal.SIGKILL)

    async def again() -> bool:
        return bed.restarts()[server] > before

    await until(again, f"{server} started again")
    await bed.ready(server)
    return Inflicted(1)


async def frozen(server: str, bed: FaultBed) -> Inflicted:
    """A server answers nothing for a while, its connections stay open."""
    await _under_load(bed)
    bed.signal(server, signal.SIGSTOP)
    try:
        await asyncio.sleep(OUTAGE_S)
    finally:
        bed.signal(server, signal.SIGCONT)
    return Inflicted(1)


async def cut_off(server: str, bed: FaultBed) -> Inflicted:
    """The link to a server is cut repeatedly; nobody can connect for a while."""
    await _under_load(bed)
    broken = 0
    for _ in range(_CUTS):
        broken += await bed.links[server].cut(_CUT_S)
        await asyncio.sleep(bed.chance.uniform(0.5, 3))
    assert broken, f"the services come to the {server} by the link"
    return Inflicted(broken)


async def away(server: str, bed: FaultBed) -> Inflicted:
    """Nobody can connect to a server for a minute: what is at work is held, and no attempt is used up."""
    await _under_load(bed)
    cut = asyncio.create_task(bed.links[server].cut(2 * OUTAGE_S))
    await asyncio.sleep(OUTAGE_S)
    messages = await bed.messages()
    waiting = {name: count for name, count in messages.items() if ".retry." in name and count}
    assert messages
    assert not waiting
    broken = await cut
    assert broken, f"the services come to the {server} by the link"
    return Inflicted(broken)


async def swallowed(server: str, bed: FaultBed) -> Inflicted:
    """The link to a server silently loses all that is sent."""
    await _under_load(bed)
    broken = await bed.links[server].swallow(OUTAGE_S)
    assert broken, f"the services come to the {server} by the link"
    return Inflicted(broken)


async def slowed(server: str, bed: FaultBed) -> Inflicted:
    """All files are read over a slow link."""
    files = bed.inputs[BIG].files
    with bed.links[server].slowed(_DELAY_S, _BYTES_PER_S):
        await bed.upload(files)
        await bed.ingested(len(files))
    return Inflicted(1)


async def stopped(stage: str, bed: FaultBed) -> Inflicted:
    """A stage does nothing until all before it is done: what waits for it is in bounds, and is seen."""
    at_first = bed.resident_mib()
    bed.signal(stage, signal.SIGSTOP)
    try:
        await bed.upload(bed.inputs[BIG].files)
        await bed.ingested(len(bed.inputs[BIG].files))
        await bed.only_waits(stage)
        messages = await bed.messages()
        waiting = sum(messages[queue.name] for queue in TOPOLOGY.consumed_queues_of(stage))
        assert waiting <= len(await bed.archive.batches.overdue(FOREVER_MS)), "no message waits twice"
        await bed.unready(stage)
        grown = {name: now - at_first[name] for name, now in bed.resident_mib().items()}
    finally:
        bed.signal(stage, signal.SIGCONT)
    assert max(grown.values()) <= _GROWTH_MIB, f"what waits lies in the broker, in nobody's memory: {grown}"
    return Inflicted(1)


async def deleted(stage: str, bed: FaultBed) -> Inflicted:
    """A stage's queue is gone: its replicas end, and wait until the set-up has declared it again."""
    before, name = bed.restarts(), TOPOLOGY.queue_of(stage).name

    async def ended() -> bool:
        return all(each.restarts > before[each.name] for each in bed.processes(stage))

    async with await aio_pika.connect(bed.broker_url) as connection:
        await (await connection.channel()).queue_delete(name)
        await bed.upload(bed.inputs[BIG].files)
        await until(ended, f"{stage} ended")
        await TOPOLOGY.declare(connection)
    await bed.ready(stage)
    return Inflicted(1)


async def thrice_and_shuffled(bed: FaultBed) -> Inflicted:
    """Every message of every stage comes three times, in random order."""
    async with await aio_pika.connect(bed.broker_url) as connection, asyncio.TaskGroup() as group:
        channel = await connection.channel(publisher_confirms=True)
        over = asyncio.Event()
        queues = [queue for stage in PATH for queue in TOPOLOGY.consumed_queues_of(stage)]
        taps = [group.create_task(_shuffle(channel, queue, bed, over)) for queue in queues]
        await bed.upload(bed.chance.sample(bed.inputs[BIG].files, len(bed.inputs[BIG].files)))
        await bed.at_rest(len(bed.inputs[BIG].files))
        over.set()
    copies = sum(tap.result() for tap in taps)
    return Inflicted(copies)


async def late(bed: FaultBed, after_deadline: bool) -> Inflicted:
    """One member of every shot comes when the others were joined long ago."""
    *punctual, straggler = bed.inputs[SMALL].files
    await bed.upload(punctual)
    if after_deadline:
        await bed.at_rest(len(punctual))
    else:
        await bed.ingested(len(punctual))
    await bed.upload([straggler])
    return Inflicted(1)


async def behind(service: str, bed: FaultBed) -> Inflicted:
    """A member comes in time, and a service gets to it when its shots would have been closed without it."""
    *punctual, straggler = bed.inputs[SMALL].files
    await bed.upload(punctual)
    await bed.ingested(len(punctual))
    bed.signal(service, signal.SIGSTOP)
    try:
        await bed.upload([straggler])
        await asyncio.sleep(OUTAGE_S)
    finally:
        bed.signal(service, signal.SIGCONT)
    return Inflicted(1)


async def behind_a_hole(server: str, bed: FaultBed) -> Inflicted:
    """A member comes in time, and nobody gets to a server until its shots would have been closed."""
    *punctual, straggler = bed.inputs[SMALL].files
    await bed.upload(punctual)
    await bed.ingested(len(punctual))
    hole = asyncio.create_task(bed.links[server].swallow(OUTAGE_S))
    await bed.upload([straggler])
    return Inflicted(await hole)


async def notified_of_half(bed: FaultBed) -> Inflicted:
    """Of every second object comes a notification, three times and late; of the others none."""
    files, bucket = bed.inputs[BIG].files, bed.settings.inbox_bucket
    notifications = [_notification(bucket, path.name, path.read_bytes()) for path in files[::2]]
    await bed.upload(files)
    async with await aio_pika.connect(bed.broker_url) as connection:
        exchange = await (await connection.channel()).get_exchange(TOPOLOGY.objects.name)
        for body in notifications * 3:
            await exchange.publish(aio_pika.Message(body), routing_key="")
    return Inflicted(len(files) - len(files[::2]))


async def sent_again(bed: FaultBed) -> Inflicted:
    """Files come with wrong content first, and are sent again when it was judged."""
    files, others = bed.inputs[SMALL].files, {path.name: path for path in bed.inputs[SMALL].others}
    wrong = [others[path.name] for path in files[:3]]
    await bed.upload([*wrong, *files[3:]])
    await bed.at_rest(len(files))
    await bed.upload(files[:3])
    return Inflicted(len(wrong), {ObjectState.INGESTED: len(wrong)})


async def hostile_files(bed: FaultBed) -> Inflicted:
    """Malformed files under good names lie between the good ones."""
    hostile = sorted(CORPUS.rglob("*.h5"))
    if not hostile:
        pytest.skip(f"there is no {CORPUS.name}")
    good = list(bed.inputs[BIG].files)
    for n, path in enumerate(hostile):
        await bed.put(f"LA_Hostile-{n}_1s_snapshot_2022-07-01_06-00-00.h5", path.read_bytes())
        if n % 4 == 0 and good:
            await bed.upload([good.pop()])
    await bed.upload(good)
    return Inflicted(len(hostile), {ObjectState.REJECTED: len(hostile)})


async def poison_first(bed: FaultBed) -> Inflicted:
    """Messages that are none lie in every queue before the good ones."""
    async with await aio_pika.connect(bed.broker_url) as connection:
        channel = await connection.channel()
        for stage in STAGES:
            for body in GARBAGE:
                await channel.default_exchange.publish(aio_pika.Message(body), TOPOLOGY.queue_of(stage).name)
    await bed.upload(bed.inputs[BIG].files)
    count = len(GARBAGE) * len(STAGES)
    return Inflicted(count, dead_lettered=count)


POINTS = (
    "ingest.after_blocks",
    "ingest.after_publish",
    "ingest.after_settle",
    "validate.after_publish",
    "aggregate.after_save",
    "aggregate.after_publish",
    "features.after_write",
    "features.after_publish",
    "features.after_detail",
    "inference.after_verdicts",
    "inference.after_incidents",
    "announcing.after_reserve",
    "announcing.after_store",
    "announcing.after_publish",
    "inference.after_judged",
)
QUICK = (
    FaultInjection("SIGKILL at aggregate.after_save", partial(die_at, "aggregate.after_save")),
    FaultInjection("poison before good", poison_first, restarts=False),
)
FAULT_INJECTIONS = (
    *(
        FaultInjection(f"SIGKILL at {point}", partial(die_at, point))
        for point in POINTS
        if point != POINTS[4]
    ),
    FaultInjection("SIGKILL of inference, anywhere", partial(die_anywhere, "inference")),
    FaultInjection("SIGKILL of inference, no model registry", partial(die_while_away, "inference", "models")),
    FaultInjection("broker killed", partial(killed, "broker")),
    FaultInjection("database frozen 30 s", partial(frozen, "database")),
    FaultInjection("database killed", partial(killed, "database")),
    FaultInjection("store frozen 30 s", partial(frozen, "store")),
    FaultInjection("store killed", partial(killed, "store")),
    FaultInjection("link to the broker cut", partial(cut_off, "broker"), restarts=False),
    FaultInjection("link to the database cut", partial(cut_off, "database")),
    FaultInjection("database away for a minute", partial(away, "database")),
    FaultInjection("store away for a minute", partial(away, "store")),
    FaultInjection("link to the broker a black hole 30 s", partial(swallowed, "broker"), restarts=False),
    FaultInjection("link to the database a black hole 30 s", partial(swallowed, "database")),
    FaultInjection("link to the store slow", partial(slowed, "store"), restarts=False),
    FaultInjection("features stopped", partial(stopped, "features"), restarts=False),
    FaultInjection("queue of features deleted", partial(deleted, "features")),
    FaultInjection("every message thrice, shuffled", thrice_and_shuffled, restarts=False),
    FaultInjection("late before the deadline", partial(late, after_deadline=False), SMALL, restarts=False),
    FaultInjection("late after it", partial(late, after_deadline=True), SMALL, revises=True, restarts=False),
    FaultInjection("ingest frozen past the deadline", partial(behind, "ingest"), SMALL),
    FaultInjection("validate frozen past the deadline", partial(behind, "validate"), SMALL),
    FaultInjection(
        "link to the store a black hole past the deadline", partial(behind_a_hole, "store"), SMALL
    ),
    FaultInjection("notifications lost", notified_of_half, restarts=False),
    FaultInjection(
        "files sent again with other content",
        sent_again,
        SMALL,
        revises=True,
        restarts=False,
    ),
    FaultInjection("malformed files beside good ones", hostile_files, restarts=False),
)


async def _under_load(bed: FaultBed) -> None:
    await bed.upload(bed.inputs[BIG].files)
    await bed.ingested(UNDER_WAY)


async def _shuffle(channel: AbstractChannel, queue: RabbitQueue, bed: FaultBed, over: asyncio.Event) -> int:
    """Stand between an exchange and a queue; how many messages were put in beside the first ones."""
    more = 0
    async with _tapped(channel, queue) as tap:
        while not over.is_set():
            taken = [message async for message in _taken(tap)]
            for message in bed.chance.sample(taken * _COPIES, len(taken) * _COPIES):
                again = aio_pika.Message(message.body, headers=message.headers)
                again.delivery_mode = aio_pika.DeliveryMode.PERSISTENT
                await channel.default_exchange.publish(again, queue.name)
            for message in taken:
                await message.ack()
            more += len(taken) * (_COPIES - 1)
            await asyncio.sleep(0.5)
    return more


@asynccontextmanager
async def _tapped(channel: AbstractChannel, queue: RabbitQueue) -> AsyncIterator[AbstractQueue]:
    """A queue in the place of a stage's."""
    exchange, key = await channel.get_exchange(TOPOLOGY.work.name), queue.routing()
    own = await channel.get_queue(queue.name)
    tap = await channel.declare_queue(tap_of(key), durable=True)
    await tap.bind(exchange, key)
    await own.unbind(exchange, key)
    try:
        yield tap
    finally:
        await own.bind(exchange, key)
        await tap.unbind(exchange, key)
        await tap.delete()


async def _taken(tap: AbstractQueue) -> AsyncIterator[aio_pika.abc.AbstractIncomingMessage]:
    with suppress(QueueEmpty):
        while (message := await tap.get()) is not None:
            yield message


def _notification(bucket: str, key: str, content: bytes) -> bytes:
    """What an S3 server announces when an object was put."""
    stored = {
        "key": quote_plus(key),
        "size": len(content),
        "eTag": etag_of(content),
        "sequencer": "1",
    }
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2022-07-02T11:00:00.000Z",
        "s3": {"bucket": {"name": bucket}, "object": stored},
    }
    envelope = {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}
    return json.dumps(envelope).encode()
