"""The bus on a real RabbitMQ: what it does when queues, consumers or places to put messages are gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from prometheus_client import REGISTRY
from yarl import URL

from shotwatch_common import bus as bus_module
from shotwatch_common import metrics
from shotwatch_common.bus import (
    REASON_HEADER,
    Bus,
    ConsumersLost,
    ServersAnswer,
    Subscription,
    consumer,
    watchdog,
)
from shotwatch_common.telemetry import current_attempt
from shotwatch_common.topology import NEXT
from shotwatch_shots.batch import ShotBatch, ShotsMeasured
from shotwatch_shots.errors import Reject, Retry
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import HeldFor
from tests.broker import TOPOLOGY
from tests.chaos.links import Link

from .conftest import Url, all_answer, bus_to, declare, until

STAGE = "shadow"


def batch_of(name: str, shots: int) -> ShotBatch:
    return ShotBatch(
        batch_id=name,
        window_id=name,
        series=ShotSeries.parse("LA-A3-31-100ms"),
        pulses=[*range(0, 100 * shots, 100)],
        revisions=[1] * shots,
        complete=[True] * shots,
        members=[],
        last_arrival=0,
    )


@asynccontextmanager
async def channel(url: Url) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url("tester")) as connection:
        yield await connection.channel()


@asynccontextmanager
async def consuming(
    url: Url, subscription: Subscription, servers_answer: ServersAnswer = all_answer, **more: Any
) -> AsyncIterator[Bus]:
    account = "inference" if subscription.stage == STAGE else "tester"
    bus = bus_to(url(account), servers_answer, **more)
    await bus.connect()
    bus.subscribe(subscription)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
        async with channel(url) as clearing:
            for queue in (*TOPOLOGY.queues_of(STAGE), *TOPOLOGY.queues_of(subscription.stage)):
                await clearing.queue_delete(queue.name)
        await declare(url)


async def ignore(_body: bytes) -> None:
    return None


async def test_a_deleted_queue_is_consumed_again_once_the_set_up_has_declared_it(url: Url) -> None:
    """The set-up comes after the broker has cancelled the consumer.

    RabbitMQ 3.10 notifies nobody of a quorum queue that was deleted and declared again within milliseconds:
    it goes on to count the consumer, and gives it nothing.
    """
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    async with consuming(url, Subscription(STAGE, None, arrived.put, 1)) as bus, channel(url) as breaking:
        await breaking.queue_delete(TOPOLOGY.queue_of(STAGE).name)
        watching = asyncio.create_task(bus.watch())

        async def is_cancelled() -> bool:
            return REGISTRY.get_sample_value("shotwatch_consumers", {"stage": STAGE}) == 0

        await until(is_cancelled, "notified that the queue is gone")
        await declare(url)

        async def comes() -> bool:
            with suppress(Exception):
                await bus.send(STAGE, b"after")
            return not arrived.empty()

        await until(comes, "consumed again", 40)
        assert not watching.done()
        watching.cancel()


async def test_a_broker_that_is_away_ends_no_service(url: Url, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_POLL_INTERVAL_S", 0.02)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    address = URL(url("inference"))
    assert address.port is not None
    async with (
        Link.to(address.port) as link,
        consuming(
            lambda account: str(URL(url(account)).with_port(link.port)),
            Subscription(STAGE, None, arrived.put, 1),
        ) as bus,
    ):
        watching = asyncio.create_task(bus.watch())
        assert await link.cut(1.5)
        await until(partial(_sent, bus, STAGE), "sent", 40)
        async with asyncio.timeout(40):
            await arrived.get()
        assert REGISTRY.get_sample_value("shotwatch_consumers", {"stage": STAGE}) == 1
        assert not watching.done()
        watching.cancel()


async def test_a_service_whose_queue_is_gone_is_not_ready_and_ends(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_POLL_INTERVAL_S", 0.2)
    monkeypatch.setattr(watchdog, "_RECOVERY_S", 1.0)
    async with consuming(url, Subscription(STAGE, None, ignore, 1)) as bus:
        await bus.check_topology()
        assert await bus.ready()
        async with channel(url) as breaking:
            await breaking.queue_delete(TOPOLOGY.queue_of(STAGE).name)
        with pytest.raises(Retry, match=rf"no shotwatch\.{STAGE}: run `python -m shotwatch"):
            await bus.check_topology()
        with pytest.raises(ConsumersLost, match=STAGE):
            await asyncio.wait_for(bus.watch(), 40)
        assert not await bus.ready()


async def test_a_message_that_cannot_be_dead_lettered_is_dead_lettered_as_soon_as_it_can(url: Url) -> None:
    async def reject(body: bytes) -> None:
        raise Reject("bad", "on purpose")

    dead_letter_queue = TOPOLOGY.dead_letter_queue_of(STAGE)
    async with consuming(url, Subscription(STAGE, None, reject, 1)) as bus, channel(url) as breaking:
        await breaking.queue_delete(dead_letter_queue.name)
        for body in (b"first", b"second"):
            await bus.send(STAGE, body)
        await until(
            lambda: _ready(url, TOPOLOGY.queue_of(STAGE).name, 1), "one in the handler's hands, one waits"
        )
        await declare(url)
        await until(lambda: _ready(url, dead_letter_queue.name, 2), "both dead-lettered")


class DeadLetters:
    """Where dead letters are reported, which fails a number of times with an error that nobody expects."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.reported: list[tuple[bytes, str]] = []

    async def report(self, _stage: str, body: bytes, reason: str) -> None:
        if self.failures:
            self.failures -= 1
            raise KeyError("on purpose")
        self.reported.append((body, reason))


async def test_a_dead_letter_whose_report_fails_is_neither_lost_nor_delivered_again(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "_REPEAT_AFTER_S", 0.05)
    deliveries: list[bytes] = []

    async def reject(body: bytes) -> None:
        deliveries.append(body)
        raise Reject("bad", "named \udcff")

    letters = DeadLetters(failures=25)
    subscription = Subscription(STAGE, None, reject, 1)
    async with consuming(url, subscription, on_dead_letter=letters.report) as bus, channel(url) as reading:
        await bus.send(STAGE, b"bad")
        await until(lambda: _so(letters.reported != []), "reported")
        assert deliveries == [b"bad"]
        assert letters.reported == [(b"bad", "bad: named \\udcff")]
        dead_letter_queue = await reading.get_queue(TOPOLOGY.dead_letter_queue_of(STAGE).name)
        found = await dead_letter_queue.get(no_ack=True)
        assert found.headers[REASON_HEADER] == "bad: named \\udcff"


async def test_a_bug_in_the_check_of_the_servers_dead_letters_the_message(url: Url) -> None:
    letters = DeadLetters(failures=0)

    async def fail(_body: bytes) -> None:
        raise Retry("away")

    async def broken() -> bool:
        raise KeyError("ours")

    subscription = Subscription(STAGE, None, fail, 1)
    async with consuming(url, subscription, broken, on_dead_letter=letters.report) as bus:
        await bus.send(STAGE, b"body")
        await until(lambda: _so(letters.reported != []), "reported")
        assert letters.reported == [(b"body", "bug: KeyError('ours')")]


async def test_what_was_settled_does_not_come_again(url: Url) -> None:
    """Acknowledgements are FastStream's: of a message that was handled, and of one that was dead-lettered."""
    handled: list[bytes] = []

    async def handle(body: bytes) -> None:
        handled.append(body)
        if body == b"bad":
            raise Reject("bad", "on purpose")

    async with consuming(url, Subscription(STAGE, None, handle, 1)) as bus:
        for body in (b"good", b"bad", b"good"):
            await bus.send(STAGE, body)
        await until(lambda: _so(len(handled) == 3), "all handled")
        await bus.stop()
        assert await _waiting(url, TOPOLOGY.queue_of(STAGE).name) == 0
        assert await _waiting(url, TOPOLOGY.dead_letter_queue_of(STAGE).name) == 1


async def test_a_message_with_numbers_for_trace_headers_is_handled_and_the_next_one_too(url: Url) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    headers = {"traceparent": 5, "tracestate": 5, "baggage": 5}
    async with consuming(url, Subscription(STAGE, None, arrived.put, 1)), channel(url) as publishing:
        for body in (b"first", b"second"):
            message = aio_pika.Message(body, headers=dict(headers))
            await publishing.default_exchange.publish(message, TOPOLOGY.queue_of(STAGE).name)
        async with asyncio.timeout(40):
            assert [await arrived.get(), await arrived.get()] == [b"first", b"second"]


async def test_a_stage_works_on_as_many_messages_at_a_time_as_it_asked_for(url: Url) -> None:
    held, released = [], asyncio.Event()

    async def hold(body: bytes) -> None:
        held.append(body)
        await released.wait()

    async with consuming(url, Subscription(STAGE, None, hold, 2)) as bus:
        for n in range(5):
            await bus.send(STAGE, b"%d" % n)
        await until(lambda: _ready(url, TOPOLOGY.queue_of(STAGE).name, 3), "three wait")
        assert len(held) == 2
        released.set()


SMALL = ShotsMeasured(shots=batch_of("small", shots=1))
LARGE = ShotsMeasured(shots=batch_of("large", shots=600))


async def test_a_small_message_is_handled_while_large_ones_keep_all_places(url: Url) -> None:
    """It was published behind twenty large ones, two of which are being handled and do not end."""
    large, small, released = [], asyncio.Event(), asyncio.Event()

    async def handle(message: ShotsMeasured) -> None:
        if message.batch_size == 1:
            small.set()
            return
        large.append(message)
        await released.wait()

    async with consuming(url, Subscription("inference", ShotsMeasured, handle, 2)) as bus:
        for _ in range(20):
            await bus.send("inference", LARGE)
        await bus.send("inference", SMALL)
        async with asyncio.timeout(40):
            await small.wait()
        assert len(large) <= 2
        released.set()
        await until(lambda: _so(len(large) == 20), "all large ones handled")


async def test_large_messages_are_handled_while_small_ones_keep_all_their_places(url: Url) -> None:
    large, small, released = [], [], asyncio.Event()

    async def handle(message: ShotsMeasured) -> None:
        if message.batch_size == 1:
            small.append(message)
            await released.wait()
        else:
            large.append(message)

    async with consuming(url, Subscription("inference", ShotsMeasured, handle, 2)) as bus:
        for _ in range(10):
            await bus.send("inference", SMALL)
        for _ in range(3):
            await bus.send("inference", LARGE)
        await until(lambda: _so(len(large) == 3), "the large ones handled")
        await until(lambda: _so(len(small) == 2), "as many small ones as have a place")
        released.set()
        await until(lambda: _so(len(small) == 10), "all small ones handled")


async def test_a_small_message_that_must_be_retried_comes_again(url: Url) -> None:
    attempts: list[int] = []

    async def handle(_message: ShotsMeasured) -> None:
        attempts.append(current_attempt())
        if len(attempts) == 1:
            raise Retry("the disk is full")

    async with consuming(url, Subscription("inference", ShotsMeasured, handle, 1)) as bus:
        await bus.send("inference", SMALL)
        await until(lambda: _so(attempts == [1, 2]), "handled again", 40)


async def test_small_messages_pass_a_stage_that_rests_for_the_large_ones(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_POLL_INTERVAL_S", 0.1)
    small = asyncio.Event()

    async def handle(message: ShotsMeasured) -> None:
        if message.batch_size == 1:
            small.set()

    subscription = Subscription("features", ShotsMeasured, handle, 1)
    async with consuming(url, subscription, longest_queue=4) as bus, channel(url) as working:
        watching = asyncio.create_task(bus.watch())
        for _ in range(5):
            await bus.send("inference", LARGE)
        resting = metrics.MESSAGES_HELD.labels("features", HeldFor.NEXT_STAGE)

        async def rests() -> bool:
            await bus.send("features", LARGE)
            return resting._value.get() == 1

        await until(rests, "a large message held for the next stage")
        assert (await bus.room("inference"), await bus.room("inference", express=True)) == (-1, 4)
        await bus.send("features", SMALL)
        async with asyncio.timeout(40):
            await small.wait()
        assert resting._value.get() == 1
        watching.cancel()
        await (await working.get_queue(TOPOLOGY.queue_of("inference").name)).purge()


class Server:
    """One that handlers need, and that may be away."""

    def __init__(self) -> None:
        self.there = False
        self.asked = 0
        self.handled: list[bytes] = []

    async def answers(self) -> bool:
        self.asked += 1
        return self.there

    async def handle(self, body: bytes) -> None:
        if not self.there:
            raise Retry("away")
        self.handled.append(body)


async def test_while_a_server_is_away_a_message_is_held_and_others_wait(url: Url) -> None:
    server = Server()
    async with consuming(url, Subscription(STAGE, None, server.handle, 1), server.answers) as bus:
        for body in (b"first", b"second"):
            await bus.send(STAGE, body)
        await until(lambda: _so(server.asked > 1), "the server asked for")
        assert await _waiting(url, *(queue.name for queue in TOPOLOGY.queues_of(STAGE))) == 1
        server.there = True
        await until(lambda: _so(server.handled == [b"first", b"second"]), "both handled, in their order")


async def test_what_is_held_when_a_service_is_asked_to_stop_comes_to_another(url: Url) -> None:
    server = Server()
    async with consuming(
        url, Subscription(STAGE, None, server.handle, 1), server.answers, drain_seconds=600
    ) as bus:
        await bus.send(STAGE, b"held")
        await until(lambda: _so(server.asked > 1), "the server asked for")
        await bus.stop()
        await until(lambda: _ready(url, TOPOLOGY.queue_of(STAGE).name, 1), "given back")


async def test_a_stage_rests_while_the_queue_of_the_next_one_is_long(url: Url) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    subscription = Subscription("features", None, arrived.put, 1)
    async with consuming(url, subscription, longest_queue=4) as bus, channel(url) as working:
        watching = asyncio.create_task(bus.watch())
        for _ in range(5):
            await bus.send("inference", b"for the next stage")
        resting = metrics.MESSAGES_HELD.labels("features", HeldFor.NEXT_STAGE)

        async def rests() -> bool:
            await bus.send("features", b"work")
            return resting._value.get() == 1

        await until(rests, "a message held for the next stage")
        done = arrived.qsize()
        assert await bus.room("inference") == -1
        next_queue = await working.get_queue(TOPOLOGY.queue_of("inference").name)
        for _ in range(3):
            await next_queue.get(no_ack=True)
        await until(lambda: _so(arrived.qsize() > done), "at work again")
        watching.cancel()
        await next_queue.purge()


async def test_stages_before_one_that_is_stopped_rest_one_after_the_other(
    url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_POLL_INTERVAL_S", 0.1)
    path, longest, prefetch = ("ingest", "validate", "aggregate"), 3, 2
    async with AsyncExitStack() as running, asyncio.TaskGroup() as group:
        buses = {stage: bus_to(url(stage), longest_queue=longest) for stage in path}
        for stage, bus in buses.items():
            await bus.connect()
            running.push_async_callback(bus.stop)
            if stage in path[:-1]:
                forward = partial(buses[stage].send, NEXT[stage])
                bus.subscribe(Subscription(stage, None, forward, prefetch))
        for bus in buses.values():
            await bus.start()
        watching = [group.create_task(bus.watch()) for bus in buses.values()]
        held = [metrics.MESSAGES_HELD.labels(stage, HeldFor.NEXT_STAGE) for stage in path[:-1]]

        async def all_rest() -> bool:
            await buses["ingest"].send("ingest", b"file")
            return [each._value.get() for each in held] == [prefetch, prefetch]

        await until(all_rest, "two stages at rest")
        rooms = [await buses["ingest"].room(stage) for stage in path[1:]]
        await buses["ingest"].send("ingest", b"one more")
        assert [await buses["ingest"].room(stage) for stage in path[1:]] == rooms
        assert all(room < 0 for room in rooms)

        async def none_watches() -> bool:
            """The client library may swallow a cancellation that comes while it waits for an answer."""
            return not [task for task in watching if task.cancel()]

        await until(none_watches, "watches cancelled")
    async with channel(url) as clearing:
        for stage in path:
            await clearing.queue_delete(TOPOLOGY.queue_of(stage).name)
    await declare(url)


async def _sent(bus: Bus, stage: str) -> bool:
    try:
        await bus.send(stage, b"after")
    except Retry:
        return False
    return True


async def _so(holds: bool) -> bool:
    return holds


async def _waiting(url: Url, *queues: str) -> int:
    async with channel(url) as reading:
        found = [await reading.declare_queue(queue, passive=True) for queue in queues]
        return sum(queue.declaration_result.message_count or 0 for queue in found)


async def _ready(url: Url, queue: str, count: int) -> bool:
    async with channel(url) as reading:
        found = await reading.declare_queue(queue, passive=True)
        return found.declaration_result.message_count == count
