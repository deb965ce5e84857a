"""A real RabbitMQ with our definitions: who may do what, and where poison goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import AMQPConnectionError, ChannelAccessRefused

from shotwatch_common.bus import Subscription
from shotwatch_common.parked import hold_parked
from shotwatch_common.topology import declare_topology, parked_queue_of, queue_of
from tests.integration.certificates import Certificates
from tests.integration.conftest import Url, bus_to, until
from tests.unit.test_deploy_broker import broker as deployed


@pytest.mark.parametrize("service", list(deployed.STAGES_OF))
async def test_a_service_may_declare_publish_and_consume_what_it_works_on(url: Url, service: str):
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    bus = bus_to(url(service))
    await bus.connect()
    for stage in deployed.STAGES_OF[service]:
        bus.subscribe(Subscription(stage, None, arrived.put, prefetch=1))
    await bus.start()
    try:
        for stage in deployed.STAGES_OF[service]:
            await bus.send(stage, stage.encode())
            assert await asyncio.wait_for(arrived.get(), 20) == stage.encode()
    finally:
        await bus.stop()


async def test_over_tls_the_bus_talks_to_a_broker_whose_authority_it_is_told(
    url: Url, certificates: Certificates, tls_port: int, monkeypatch: pytest.MonkeyPatch
):
    plain = urlsplit(url("validate"))
    address = url("validate").replace("amqp:", "amqps:").replace(f":{plain.port}/", f":{tls_port}/")
    with pytest.raises(AMQPConnectionError, match="certificate verify failed"):
        await aio_pika.connect(address)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    bus = bus_to(address)
    await bus.connect()
    bus.subscribe(Subscription("validate", None, arrived.put, prefetch=1))
    await bus.start()
    try:
        await bus.send("validate", b"over TLS")
        assert await asyncio.wait_for(arrived.get(), 20) == b"over TLS"
    finally:
        await bus.stop()


async def test_an_operator_may_listen_to_anomalies(url: Url):
    async with _channel(url("operator")) as channel:
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind("anomalies", "anomaly.critical.#")
        assert await queue.get(fail=False) is None


async def _consume(channel: AbstractChannel) -> None:
    await (await channel.get_queue(queue_of("ingest").name, ensure=False)).get(fail=False)


async def _raise_an_anomaly(channel: AbstractChannel) -> None:
    anomalies = await channel.get_exchange("anomalies", ensure=False)
    await anomalies.publish(aio_pika.Message(b""), "anomaly", mandatory=False)


async def _send_work(channel: AbstractChannel) -> None:
    work = await channel.get_exchange("shotwatch.work", ensure=False)
    await work.publish(aio_pika.Message(b""), "validate")


async def _overhear_objects(channel: AbstractChannel) -> None:
    queue = await channel.declare_queue(exclusive=True, auto_delete=True)
    await queue.bind("shotwatch.objects")


@pytest.mark.parametrize(
    ("account", "act"),
    [
        *(("operator", act) for act in (_consume, _raise_an_anomaly, _send_work, _overhear_objects)),
        *(("store", act) for act in (_consume, _raise_an_anomaly, _send_work)),
        *(("validate", act) for act in (_consume, _overhear_objects)),
        *(("monitor", act) for act in (_consume, _send_work)),
    ],
)
async def test_what_is_not_an_accounts_work_is_refused(
    url: Url, account: str, act: Callable[[AbstractChannel], Awaitable[None]]
):
    async with _channel(url(account)) as channel:
        with pytest.raises(ChannelAccessRefused):
            await act(channel)


async def test_the_object_store_may_announce_objects(url: Url):
    async with _channel(url("store")) as channel:
        objects = await channel.declare_exchange("shotwatch.objects", "fanout", durable=True)
        await objects.publish(aio_pika.Message(b"an event"), "")
    assert await _next_message(url, "ingest") == b"an event"


async def test_a_message_that_every_consumer_dies_of_is_parked(url: Url):
    async with _channel(url("validate")) as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"poison"), queue_of("validate").name)
        parked = await channel.declare_queue(parked_queue_of("validate").name, passive=True)

    async def is_parked() -> bool:
        async with _channel(url("validate")) as channel:
            queue = await channel.get_queue(queue_of("validate").name, ensure=False)
            await queue.get(fail=False)  # and the connection is lost before it is acknowledged
        async with _channel(url("validate")) as channel:
            found = await channel.declare_queue(parked.name, passive=True)
            return found.declaration_result.message_count == 1

    await until(is_parked, "parked")
    async with await aio_pika.connect(url("engineer")) as connection:
        [parked_message] = [held.message async for held in hold_parked(connection, "validate")]
    assert (parked_message.body, parked_message.reason) == (b"poison", "delivery_limit")


async def test_an_engineer_may_look_after_the_queues_send_back_what_is_parked_and_listen(url: Url):
    async with await aio_pika.connect(url("engineer")) as connection:
        async with connection.channel() as channel:
            await declare_topology(channel)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind("anomalies", "anomaly.#")
            parked = parked_queue_of("features").name
            await channel.default_exchange.publish(aio_pika.Message(b"mended"), parked)
        async for held in hold_parked(connection, "features"):
            await held.send_back()
    assert await _next_message(url, "features") == b"mended"


async def _next_message(url: Url, stage: str) -> bytes:
    """The body of the next message of the stage, taken by the service of that name."""
    async with _channel(url(stage)) as channel:
        queue = await channel.get_queue(queue_of(stage).name, ensure=False)
        message = await queue.get(timeout=20)
        assert message is not None
        await message.ack()
        return message.body


@asynccontextmanager
async def _channel(address: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(address) as connection:
        yield await connection.channel()
