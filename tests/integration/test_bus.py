"""The bus on a real RabbitMQ: what it does when queues, consumers or places to put messages are gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from shotwatch_cli.broker import drifted
from shotwatch_common.bus import (
    Bus,
    ConsumersLost,
    Subscription,
    declare_queue,
    parked_queue_of,
    queue_of,
    queues_of,
)
from shotwatch_common.errors import Reject

from .conftest import Url, bus_to, until

STAGE = "shadow"


@asynccontextmanager
async def channel(url: Url) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url("inference")) as connection:
        yield await connection.channel()


@asynccontextmanager
async def consuming(url: Url, subscription: Subscription) -> AsyncIterator[Bus]:
    bus = bus_to(url("inference"))
    await bus.connect()
    bus.subscribe(subscription)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
        async with channel(url) as clearing:
            for queue in queues_of(STAGE):
                await clearing.queue_delete(queue.name)
        again = bus_to(url("inference"))
        await again.connect()
        await again.stop()


async def ignore(_body: bytes) -> None:
    return None


async def test_a_deleted_queue_is_declared_and_consumed_again(url: Url) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    async with consuming(url, Subscription(STAGE, None, arrived.put, 1)) as bus, channel(url) as breaking:
        await breaking.queue_delete(queue_of(STAGE).name)
        watching = asyncio.create_task(bus.watch())

        async def comes() -> bool:
            with suppress(Exception):
                await bus.send(STAGE, b"after")
            return not arrived.empty()

        await until(comes, "consumed again", 40)
        assert not watching.done()
        watching.cancel()


async def test_a_service_whose_queue_is_another_now_is_not_ready_and_ends(url: Url) -> None:
    async with consuming(url, Subscription(STAGE, None, ignore, 1)) as bus:
        assert await bus.ready()
        async with channel(url) as breaking:
            await breaking.queue_delete(queue_of(STAGE).name)
            await breaking.declare_queue(queue_of(STAGE).name, auto_delete=True)
            async with await aio_pika.connect(url("inference")) as connection:
                assert await drifted(connection) == [queue_of(STAGE).name]
        with pytest.raises(ConsumersLost, match=STAGE):
            await asyncio.wait_for(bus.watch(), 40)
        assert not await bus.ready()


async def test_a_message_that_cannot_be_parked_is_parked_as_soon_as_it_can(url: Url) -> None:
    async def reject(body: bytes) -> None:
        raise Reject("bad", "on purpose")

    parked = parked_queue_of(STAGE)
    async with consuming(url, Subscription(STAGE, None, reject, 1)) as bus, channel(url) as breaking:
        await breaking.queue_delete(parked.name)
        for body in (b"first", b"second"):
            await bus.send(STAGE, body)
        await until(lambda: _ready(url, queue_of(STAGE).name, 1), "one in the handler's hands, one waits")
        await declare_queue(breaking, parked)
        await until(lambda: _ready(url, parked.name, 2), "both parked")


async def test_a_stage_works_on_as_many_messages_at_a_time_as_it_asked_for(url: Url) -> None:
    held, released = [], asyncio.Event()

    async def hold(body: bytes) -> None:
        held.append(body)
        await released.wait()

    async with consuming(url, Subscription(STAGE, None, hold, 2)) as bus:
        for n in range(5):
            await bus.send(STAGE, b"%d" % n)
        await until(lambda: _ready(url, queue_of(STAGE).name, 3), "three wait")
        assert len(held) == 2
        released.set()


async def _ready(url: Url, queue: str, count: int) -> bool:
    async with channel(url) as looking:
        found = await looking.declare_queue(queue, passive=True)
        return found.declaration_result.message_count == count
