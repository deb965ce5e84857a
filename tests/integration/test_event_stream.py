"""The stream of anomaly events on a real RabbitMQ: bounded, in order, and read on after an interruption."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest

from shotwatch_cli.broker import EventStream
from shotwatch_cli.commands.tail import events_of
from shotwatch_cli.deployment import Deployment, settings_of
from shotwatch_cli.events import without_double
from shotwatch_cli.failures import Failure
from shotwatch_common.bus import Bus
from shotwatch_shots.errors import Retry
from shotwatch_shots.event import AnomalyEvent
from tests.broker import TOPOLOGY
from tests.chaos.links import Link
from tests.facilities import FACILITY
from tests.unit.test_cli_events import event

from .conftest import Node, Url, bus_to, declare
from .waiting import until

ELSEWHERE = {
    "SHOTWATCH_DATABASE_URL": "mongodb://127.0.0.1:1/",
    "SHOTWATCH_STORE_URL": "http://127.0.0.1:1",
    "SHOTWATCH_STORE_ACCESS_KEY": "none",
    "SHOTWATCH_STORE_SECRET_KEY": "none",
    "SHOTWATCH_MODELS_URL": "http://127.0.0.1:1",
    "SHOTWATCH_FACILITY": str(FACILITY),
}
"""Servers that reading the stream does not take."""


@pytest.fixture
async def inference(url: Url) -> AsyncIterator[Bus]:
    """The bus of the service that publishes."""
    bus = bus_to(url("inference"))
    await bus.connect()
    yield bus
    await bus.stop()


async def test_tail_shows_what_was_published_while_its_connection_was_lost_in_order_and_once(
    url: Url, inference: Bus
) -> None:
    address = urlsplit(url("operator"))
    async with Link.to(address.port or 0) as link:
        through_link = address._replace(netloc=address.netloc.replace(f":{address.port}", f":{link.port}"))
        async with following(through_link.geturl(), "anomaly.#") as shown:

            async def one_is_shown() -> bool:
                await inference.announce(event(1))
                return not shown.empty()

            await until(one_is_shown, "the first event")
            async with link.away():
                for number in (2, 3, 4):
                    await inference.announce(event(number))
            await inference.announce(event(5))
            assert [await asyncio.wait_for(shown.get(), 20) for _ in range(5)] == [1, 2, 3, 4, 5]
            assert shown.empty()


@asynccontextmanager
async def following(address: str, binding_key: str) -> AsyncIterator[asyncio.Queue[int]]:
    """The numbers that `shotwatch tail` shows who has the operator's account alone."""
    deployment = Deployment(settings_of({**ELSEWHERE, "SHOTWATCH_BROKER_URL": address}), {}, query_url=None)
    shown = asyncio.Queue[int]()

    async def follow() -> None:
        async for each in without_double(events_of(deployment, binding_key, missed=None)):
            await shown.put(each.data.sequence)

    task = asyncio.create_task(follow())
    try:
        yield shown
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_interruption_before_the_first_event_loses_none(url: Url, inference: Bus) -> None:
    stream = EventStream(url("operator"), TOPOLOGY)
    async with stream.subscription():
        pass
    await inference.announce(event(17))
    async with stream.subscription() as events:
        while (await anext(events)).data.sequence != 17:
            pass


async def test_a_subscription_begins_with_what_is_published_after_it(url: Url, inference: Bus) -> None:
    await inference.announce(event(1))
    async with EventStream(url("engineer"), TOPOLOGY).subscription() as events:
        await inference.announce(event(2))
        assert await next_number(events) == 2


async def test_an_event_of_somebody_who_may_not_publish_it_is_not_shown(url: Url, inference: Bus) -> None:
    async with EventStream(url("operator"), TOPOLOGY).subscription() as events:
        async with await aio_pika.connect(url("history")) as connection:
            channel = await connection.channel()
            anomalies = await channel.get_exchange("anomalies", ensure=False)
            forged = aio_pika.Message(event(1).model_dump_json(by_alias=True).encode())
            await anomalies.publish(forged, "anomaly.warning.LA.A1.11.drift")
        await inference.announce(event(2))
        assert await next_number(events) == 2


async def test_a_message_that_is_no_event_is_left_out_and_reported(
    url: Url, inference: Bus, capsys: pytest.CaptureFixture[str]
) -> None:
    async with EventStream(url("operator"), TOPOLOGY).subscription() as events:
        async with await aio_pika.connect(url("history")) as connection:
            channel = await connection.channel()
            anomalies = await channel.get_exchange("anomalies", ensure=False)
            await anomalies.publish(aio_pika.Message(b'{"data": 1}'), "anomaly.warning.LA.A1.11.drift")
        await inference.announce(event(2))
        assert await next_number(events) == 2
    assert "is not an anomaly event that this version can read" in " ".join(capsys.readouterr().err.split())


async def next_number(events: AsyncIterator[AnomalyEvent]) -> int:
    async with asyncio.timeout(20):
        return (await anext(events)).data.sequence


async def test_the_stream_keeps_no_more_than_its_limit_and_a_file(url: Url, node: Node) -> None:
    megabyte = aio_pika.Message(bytes(1 << 20))
    async with await aio_pika.connect(url("tester")) as connection:
        anomalies = await (await connection.channel()).get_exchange("anomalies")
        for _ in range(40):
            await anomalies.publish(megabyte, "anomaly.info.LA.A1.11.hot_spot")

    async def within_limits() -> bool:
        return 2 << 20 < size_of(streams) < 6 << 20

    streams = Path(node.environment["RABBITMQ_MNESIA_BASE"])
    await until(within_limits, "4 MiB kept of 40")


def size_of(folder: Path) -> int:
    """Bytes of all files of streams below a folder."""
    return sum(file.stat().st_size for file in folder.glob("*/stream/*/*") if file.is_file())


async def test_without_the_stream_publishing_is_tried_again_and_a_subscriber_learns_what_to_do(
    url: Url, inference: Bus
) -> None:
    async with await aio_pika.connect(url("tester")) as connection:
        channel = await connection.channel()
        await channel.queue_delete(TOPOLOGY.events.name)
        try:
            with pytest.raises(Retry):
                await inference.announce(event(1))
            with pytest.raises(Failure, match=r"no queue anomalies\.stream") as failure:
                async with EventStream(url("operator"), TOPOLOGY).subscription():
                    pass
            assert await TOPOLOGY.missing(connection) == [TOPOLOGY.events.name]
        finally:
            await declare(url)
    assert "shotwatch_operations.broker" in failure.value.advice
    await inference.announce(event(2))
