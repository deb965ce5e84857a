"""Every account on a real RabbitMQ: what it may do works, and all else is refused."""

import asyncio
import json
import os
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ProbableAuthenticationError
from aiormq.exceptions import AMQPConnectionError, ChannelAccessRefused
from pamqp import commands

from shotwatch_common.broker_connection import connection_to
from shotwatch_common.bus import Subscription
from shotwatch_common.services import SERVICES
from shotwatch_common.topology import STAGES, Topology, declare_queue
from shotwatch_operations.broker.dead_letter_queue import hold_dead_letters
from shotwatch_shots.event import AnomalyEvent
from tests.broker import TOPOLOGY, log_in
from tests.integration.certificates import Certificates
from tests.integration.conftest import Node, Url, bus_to, until
from tests.integration.raw_amqp import RawClient
from tests.unit.test_cli_events import event

Act = Callable[[AbstractChannel], Awaitable[object]]

ON_BROKER = [service.name for service in SERVICES if service.on_broker]
ACCOUNTS = ("setup", *ON_BROKER, "store", "monitor", "operator", "engineer")
OURS = {"shotwatch.objects": "fanout", "shotwatch.work": "topic", "anomalies": "topic"}
EXCHANGES = {**OURS, "amq.topic": "topic"}
PATH = ("ingest", "validate", "aggregate", "features", "inference")
QUEUES = [
    *(f"shotwatch.{stage}{of}" for stage in STAGES for of in ("", ".dead_letters", ".retry.30s")),
    *(f"shotwatch.{stage}.express" for stage in PATH),
]
EVENTS = "anomalies.stream"
KEYS = [name.removeprefix("shotwatch.") for name in QUEUES]
SHOT, SLOW = "anomaly.critical.LA.A1.11.hot_spot", "anomaly.warning.LA.A1.11.drift"
PUBLISHED = [
    *(("shotwatch.work", key) for key in (*KEYS, "anything")),
    *(("anomalies", key) for key in (SHOT, SLOW, "anything", f"{SHOT}.more")),
    *(("amq.topic", key) for key in ("shotwatch.objects", "anything")),
    *((exchange, "anything") for exchange in ("shotwatch.objects", "amq.direct", "amq.fanout")),
    *(("", name) for name in (*QUEUES, EVENTS, "amq.rabbitmq.reply-to")),
]


def operations() -> Iterator[tuple[str, Act]]:
    """Everything that a client can do to our exchanges and queues, each by a name."""
    for queue in (queue for queue in TOPOLOGY.queues if queue.name in QUEUES):
        name = queue.name
        yield f"declare {name}", partial(declare_queue, queue=queue)
        yield f"delete {name}", lambda on, n=name: on.queue_delete(n)
        yield f"read {name}", partial(read, name)
        yield f"purge {name}", partial(purge, name)
        for exchange in ("shotwatch.work", "shotwatch.objects"):
            yield f"bind {name} to {exchange}", partial(bind, name, exchange)
            yield f"unbind {name} from {exchange}", partial(unbind, name, exchange)
    yield f"declare {EVENTS}", partial(declare_queue, queue=TOPOLOGY.events)
    yield f"delete {EVENTS}", lambda on: on.queue_delete(EVENTS)
    yield f"read {EVENTS}", subscribe
    yield f"bind {EVENTS} to anomalies", partial(bind, EVENTS, "anomalies")
    yield f"unbind {EVENTS} from anomalies", partial(unbind, EVENTS, "anomalies")
    for name, kind in EXCHANGES.items():
        yield f"declare {name}", lambda on, n=name, k=kind: on.declare_exchange(n, k, durable=True)
        yield f"delete {name}", lambda on, n=name: on.exchange_delete(n)
        yield f"listen to {name}", partial(listen, "", name)
    for exchange, key in PUBLISHED:
        yield f"publish {exchange or 'to'} {key}", partial(publish, exchange, key)
    for name, how in (("mine", {}), ("", {}), ("", {"exclusive": True}), ("", {"durable": True})):
        yield f"declare a queue {name!r} {how}", lambda on, n=name, h=how: on.declare_queue(n or None, **h)
    for source in EXCHANGES:
        for target in {*EXCHANGES} - {source}:
            yield f"bind {target} to {source}", partial(bind_exchanges, target, source)
    for other in ("mine", "operator.mine", "amq.gen-mine"):
        yield f"declare an exchange {other}", lambda on, n=other: on.declare_exchange(n, auto_delete=True)


OF_SETUP = {
    *(f"{act} {name}" for act in ("declare", "delete") for name in (*QUEUES, *OURS, EVENTS)),
    f"bind {EVENTS} to anomalies",
    f"unbind {EVENTS} from anomalies",
    *(
        f"{act} {name} {way} {exchange}"
        for name in QUEUES
        for exchange in ("shotwatch.work", "shotwatch.objects")
        for act, way in (("bind", "to"), ("unbind", "from"))
    ),
    *(f"{act} {name}" for act in ("read", "purge") for name in QUEUES if ".retry." in name),
    *(f"publish to {name}" for name in (*QUEUES, EVENTS, "amq.rabbitmq.reply-to")),
    *(f"bind shotwatch.objects to {source}" for source in EXCHANGES if source != "shotwatch.objects"),
    "publish shotwatch.objects anything",
}


def consumed(*stages: str) -> list[str]:
    """The queues of these stages from which messages are handled, without their prefix."""
    return [*stages, *(f"{stage}.express" for stage in stages if stage in PATH)]


def sent_to(*stages: str) -> set[str]:
    """What a service that publishes to these stages may do."""
    return {f"publish shotwatch.work {queue}" for queue in consumed(*stages)}


def of_stages(*stages: str) -> set[str]:
    """What the service of these stages may do with its own messages."""
    return {
        *(f"{act} shotwatch.{queue}" for act in ("read", "purge") for queue in consumed(*stages)),
        *(
            f"publish shotwatch.work {stage}.{place}"
            for stage in stages
            for place in ("dead_letters", "retry.30s")
        ),
    }


MAX_OPERATORS = 20

ALLOWED = {
    "setup": OF_SETUP,
    "ingest": of_stages("ingest") | sent_to("ingest", "validate"),
    "validate": of_stages("validate") | sent_to("aggregate"),
    "aggregate": of_stages("aggregate") | sent_to("features"),
    "features": of_stages("features", "detail") | sent_to("inference"),
    "inference": {
        *of_stages("inference", "shadow"),
        *sent_to("detail", "shadow"),
        f"publish anomalies {SHOT}",
    },
    "history": {f"publish anomalies {SLOW}"},
    "store": {"declare amq.topic", "publish amq.topic shotwatch.objects"},
    "monitor": set(),
    "operator": {f"read {EVENTS}"},
    "engineer": {
        *(f"{act} shotwatch.{stage}.dead_letters" for act in ("read", "purge") for stage in STAGES),
        *(f"publish shotwatch.work {stage}" for stage in STAGES),
        f"read {EVENTS}",
    },
}


@pytest.mark.parametrize("account", ACCOUNTS)
async def test_an_account_may_do_what_is_its_work_and_nothing_else(url: Url, account: str):
    allowed = set()
    async with await aio_pika.connect(url(account)) as connection:
        for name, act in operations():
            if account == "setup" and name in OF_SETUP and name.startswith(("delete", "unbind")):
                allowed.add(name)  # it may; the others' tests need what is there
            elif await permitted(connection, act):
                allowed.add(name)
    await empty(url)
    assert allowed == ALLOWED[account]


async def permitted(connection: AbstractConnection, act: Act) -> bool:
    """Whether the broker lets the account do this."""
    async with connection.channel(on_return_raises=False) as channel:
        try:
            await act(channel)
        except ChannelAccessRefused:
            return False
        return True


async def read(name: str, channel: AbstractChannel) -> None:
    await (await channel.get_queue(name, ensure=False)).get(fail=False)


async def purge(name: str, channel: AbstractChannel) -> None:
    await (await channel.get_queue(name, ensure=False)).purge()


async def subscribe(channel: AbstractChannel) -> None:
    await channel.set_qos(1)
    events = await channel.get_queue(EVENTS, ensure=False)
    await events.cancel(await events.consume(asyncio.Queue[object]().put))


@asynccontextmanager
async def subscribed(address: str) -> AsyncIterator[asyncio.Queue[AbstractIncomingMessage]]:
    """The events that are published from now on."""
    arrived = asyncio.Queue[AbstractIncomingMessage]()
    async with channel_to(address) as channel:
        await channel.set_qos(1000)
        events = await channel.get_queue(EVENTS, ensure=False)
        await events.consume(arrived.put, arguments={"x-stream-offset": "next"})
        yield arrived


async def next_number(arrived: asyncio.Queue[AbstractIncomingMessage]) -> int:
    message = await asyncio.wait_for(arrived.get(), 20)
    return AnomalyEvent.model_validate_json(message.body).data.sequence


async def bind_exchanges(target: str, source: str, channel: AbstractChannel) -> None:
    bound = await channel.get_exchange(target, ensure=False)
    await bound.bind(source, "nothing")
    await bound.unbind(source, "nothing")


async def bind(name: str, exchange: str, channel: AbstractChannel) -> None:
    await (await channel.get_queue(name, ensure=False)).bind(exchange, "nothing")


async def unbind(name: str, exchange: str, channel: AbstractChannel) -> None:
    await (await channel.get_queue(name, ensure=False)).unbind(exchange, name.removeprefix("shotwatch."))


async def listen(name: str, exchange: str, channel: AbstractChannel) -> None:
    queue = await channel.declare_queue(name or None, exclusive=True)
    await queue.bind(exchange, "#")
    await queue.get(fail=False)
    await queue.delete()


async def publish(exchange: str, key: str, channel: AbstractChannel) -> None:
    to = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
    await to.publish(aio_pika.Message(b"published"), key, mandatory=False)


async def empty(url: Url) -> None:
    """Leave no message in our queues, and no binding that a test made."""
    async with channel_to(url("tester")) as channel:
        for queue in TOPOLOGY.queues:
            found = await channel.get_queue(queue.name, ensure=False)
            await found.purge()
            for exchange in ("shotwatch.work", "shotwatch.objects"):
                await found.unbind(exchange, "nothing")
        await (await channel.get_queue(EVENTS, ensure=False)).unbind("anomalies", "nothing")


@pytest.mark.parametrize(
    ("account", "status", "expected"), [("setup", 0, '"declared"'), ("ingest", 1, "the account `setup`")]
)
async def test_only_the_account_setup_can_run_the_set_up(url: Url, account: str, status: int, expected: str):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shotwatch_operations.broker"),
        env={**os.environ, "SHOTWATCH_BROKER_URL": url(account)},
        stdout=asyncio.subprocess.PIPE,
    )
    stdout, _ = await process.communicate()
    assert process.returncode == status
    assert expected in stdout.decode()


@pytest.mark.parametrize("service", ON_BROKER)
async def test_a_service_publishes_consumes_and_asks_whether_all_is_there(url: Url, service: str):
    stages = [stage for stage in STAGES if f"read shotwatch.{stage}" in ALLOWED[service]]
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    bus = bus_to(url(service))
    await bus.connect()
    await bus.check_topology()
    for stage in stages:
        bus.subscribe(Subscription(stage, None, arrived.put, prefetch=1))
    await bus.start()
    try:
        for queue in consumed(*stages):
            async with channel_to(url("tester")) as channel:
                await publish("shotwatch.work", queue, channel)
            assert await asyncio.wait_for(arrived.get(), 20) == b"published"
    finally:
        await bus.stop()


async def test_over_tls_the_bus_talks_to_a_broker_whose_authority_it_is_given(
    url: Url, certificates: Certificates, tls_port: int, monkeypatch: pytest.MonkeyPatch
):
    plain = urlsplit(url("ingest"))
    address = url("ingest").replace("amqp:", "amqps:").replace(f":{plain.port}/", f":{tls_port}/")
    with pytest.raises(AMQPConnectionError, match="certificate verify failed"):
        await log_in(address)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    bus = bus_to(address)
    await bus.connect()
    await bus.check_topology()
    bus.subscribe(Subscription("ingest", None, arrived.put, prefetch=1))
    await bus.start()
    try:
        await bus.send("ingest", b"over TLS")
        assert await asyncio.wait_for(arrived.get(), 20) == b"over TLS"
    finally:
        await bus.stop()


async def test_what_the_store_announces_comes_to_ingest_and_it_cannot_delete_the_way(url: Url):
    async with channel_to(url("store")) as channel:
        with pytest.raises(ChannelAccessRefused):
            await channel.exchange_delete("amq.topic")
    async with channel_to(url("store")) as channel:
        announced = await channel.declare_exchange("amq.topic", "topic", durable=True)  # as MinIO does
        await announced.publish(aio_pika.Message(b"an event"), "shotwatch.objects")
    assert await next_message(url, "ingest.express") == b"an event"


async def test_a_message_that_every_consumer_dies_of_is_dead_lettered(url: Url):
    async with channel_to(url("tester")) as channel:
        await publish("shotwatch.work", "validate", channel)

    async def is_dead_lettered() -> bool:
        async with channel_to(url("validate")) as channel:
            queue = await channel.get_queue("shotwatch.validate", ensure=False)
            await queue.get(fail=False)  # and the connection is lost before it is acknowledged
        async with channel_to(url("validate")) as channel:
            found = await channel.declare_queue("shotwatch.validate.dead_letters", passive=True)
            return found.declaration_result.message_count == 1

    await until(is_dead_lettered, "dead_lettered")
    async with await aio_pika.connect(url("engineer")) as connection:
        [message] = [held.message async for held in hold_dead_letters(connection, "validate", TOPOLOGY)]
    await empty(url)
    assert (message.body, message.reason) == (b"published", "delivery_limit")


@pytest.mark.parametrize("stage", STAGES)
async def test_an_engineer_sends_back_what_is_dead_lettered(url: Url, stage: str):
    async with channel_to(url("tester")) as channel:
        await publish("shotwatch.work", f"{stage}.dead_letters", channel)
    async with await aio_pika.connect(url("engineer")) as connection:
        async for held in hold_dead_letters(connection, stage, TOPOLOGY):
            await held.send_back()
    assert await next_message(url, stage) == b"published"


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("aside", ["dead_letters", "retry.1s"])
async def test_a_message_that_came_by_a_further_key_is_dead_lettered_unread(
    url: Url, header: str, aside: str
):
    further = {"dead_letters": "inference", "retry.1s": "inference.retry.1s"}[aside]
    read: list[object] = []

    async def handle(message: object) -> None:
        read.append(message)

    async with channel_to(url("validate")) as channel:
        work = await channel.get_exchange("shotwatch.work", ensure=False)
        forged = aio_pika.Message(b"forged", headers={header: [further]})
        try:
            await work.publish(forged, f"validate.{aside}", mandatory=False)
        except ChannelAccessRefused:  # by RabbitMQ 4.1 and later
            return
    bus = bus_to(url("inference"))
    await bus.connect()
    bus.subscribe(Subscription("inference", None, handle, prefetch=1))
    await bus.start()
    try:
        async with await aio_pika.connect(url("engineer")) as connection:

            async def dead_lettered() -> bool:
                return [held async for held in hold_dead_letters(connection, "inference", TOPOLOGY)] != []

            await until(dead_lettered, "the forged message among the dead-lettered ones")
    finally:
        await bus.stop()
    await empty(url)
    assert read == []


class Unreadable(commands.Basic.Properties):
    """Properties that AMQP allows: a header whose name is not UTF-8."""

    def marshal(self) -> bytes:
        header = b"\x01\xfft\x01"
        return struct.pack(">HI", self.flags["headers"], len(header)) + header


async def test_a_message_whose_headers_nobody_can_read_is_dead_lettered_and_ends_no_connection(url: Url):
    read: list[object] = []

    async def handle(message: object) -> None:
        read.append(message)

    bus = bus_to(url("validate"))
    await bus.connect()
    bus.subscribe(Subscription("validate", None, handle, prefetch=1))
    await bus.start()
    try:
        async with channel_to(url("ingest")) as channel:
            forge = (await channel.get_underlay_channel()).basic_publish
            await forge(b"forged", exchange="shotwatch.work", routing_key="validate", properties=Unreadable())
            await forge(b"good", exchange="shotwatch.work", routing_key="validate")
        async with await aio_pika.connect(url("engineer")) as connection:

            async def reasons() -> list[str]:
                held = hold_dead_letters(connection, "validate", TOPOLOGY)
                return [each.message.reason async for each in held]

            async def handled() -> bool:
                return read == [b"good"] and await reasons() != []

            await until(handled, "the forged message among the dead-lettered ones, and the other one handled")
            [reason] = await reasons()
    finally:
        await bus.stop()
    await empty(url)
    assert "headers cannot be decoded" in reason


async def test_an_engineer_reads_a_dead_letter_whose_headers_nobody_can_read(url: Url):
    """Who may publish to a stage's dead-letter queue may leave such a message there."""
    async with channel_to(url("validate")) as channel:
        forge = (await channel.get_underlay_channel()).basic_publish
        await forge(
            b"x", exchange="shotwatch.work", routing_key="validate.dead_letters", properties=Unreadable()
        )
    async with await aio_pika.connect(url("engineer")) as connection:
        found = [each.message async for each in hold_dead_letters(connection, "validate", TOPOLOGY)]
    await empty(url)
    assert [each.body for each in found] == [b"x"]
    assert "UnicodeDecodeError" in found[0].reason


@pytest.mark.parametrize("act", ["get", "purge"])
async def test_an_operator_takes_no_event_from_the_others(url: Url, act: str):
    """Both take the right to read, which the operator has; RabbitMQ does neither on a stream."""
    bus = bus_to(url("inference"))
    await bus.connect()
    try:
        async with subscribed(url("engineer")) as arrived:
            await bus.announce(event(1))
            async with await aio_pika.connect(url("operator")) as connection:
                channel = await connection.channel()
                events = await channel.get_queue(EVENTS, ensure=False)
                with pytest.raises(AMQPError):
                    await {"get": events.get, "purge": events.purge}[act]()
            await bus.announce(event(2))
            assert [await next_number(arrived) for _ in range(2)] == [1, 2]
    finally:
        await bus.stop()


async def test_an_operator_asks_nobody_for_a_direct_reply(url: Url):
    async with channel_to(url("operator")) as channel:
        replies = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        await replies.consume(asyncio.Queue[object]().put, no_ack=True)
        question = aio_pika.Message(b"", reply_to="amq.rabbitmq.reply-to")
        with pytest.raises(ChannelAccessRefused):
            await channel.default_exchange.publish(question, "shotwatch.ingest")


async def test_operators_who_read_and_acknowledge_nothing_hold_up_nobody(url: Url):
    bus = bus_to(url("inference"))
    await bus.connect()
    try:
        async with AsyncExitStack() as opened, subscribed(url("engineer")) as arrived:
            for _ in range(MAX_OPERATORS):
                client = await opened.enter_async_context(RawClient.connected(url("operator")))
                await client.ask(commands.Basic.Qos(prefetch_count=2**16 - 1))
                await client.ask(commands.Basic.Consume(queue=EVENTS, arguments={"x-stream-offset": "first"}))
            for number in range(500):
                await asyncio.wait_for(bus.announce(event(number)), 20)
            assert [await next_number(arrived) for _ in range(500)] == list(range(500))
    finally:
        await bus.stop()


async def test_an_operator_opens_a_bounded_number_of_connections(url: Url):
    async with AsyncExitStack() as opened:
        for _ in range(MAX_OPERATORS):
            await opened.enter_async_context(await aio_pika.connect(url("operator")))
        with pytest.raises(AMQPError):
            await log_in(url("operator"))
        async with channel_to(url("ingest")) as channel:
            assert not channel.is_closed


async def test_an_operator_opens_a_bounded_number_of_channels(url: Url):
    async with await aio_pika.connect(url("operator")) as connection:
        for _ in range(MAX_OPERATORS):
            await connection.channel()
        with pytest.raises(AMQPError):
            await connection.channel()


async def test_the_broker_limits_all_accounts_together_and_each_by_itself(node: Node):
    """The figures are those of the table in docs/broker-accounts.md."""
    together = json.loads(await node.ctl("list_vhost_limits", "--formatter", "json"))
    assert json.loads(together["value"]) == {"max-connections": 500}
    listed = json.loads(await node.ctl("list_user_limits", "--global", "--formatter", "json"))
    limits = {each["user"]: json.loads(each["limits"]) for each in listed}
    service = {"max-connections": 64, "max-channels": 512}
    operator = {"max-connections": MAX_OPERATORS, "max-channels": MAX_OPERATORS}
    assert limits == dict.fromkeys(ACCOUNTS, service) | {"operator": operator}


async def test_a_password_changes_while_the_broker_and_the_service_run(url: Url, node: Node):
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    old = url("aggregate")
    bus = bus_to(old)
    await bus.connect()
    bus.subscribe(Subscription("aggregate", None, arrived.put, prefetch=1))
    await bus.start()
    try:
        await node.ctl("change_password", "aggregate", given="another")
        with pytest.raises(ProbableAuthenticationError):
            await log_in(old)
        new = old.replace(urlsplit(old).password or "", "another")
        async with channel_to(url("engineer")) as channel, channel_to(new):
            await publish("shotwatch.work", "aggregate", channel)
        assert await asyncio.wait_for(arrived.get(), 20) == b"published"
    finally:
        await node.ctl("change_password", "aggregate", given=urlsplit(old).password or "")
        await bus.stop()


async def test_a_monitor_reads_the_length_of_a_queue_and_may_do_nothing_else_by_http(url: Url, node: Node):
    async with management(url, node) as client:
        queue = "/api/queues/%2F/shotwatch.ingest"
        assert (await client.get(queue)).json()["name"] == "shotwatch.ingest"
        get = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        message = {"properties": {}, "routing_key": "ingest", "payload": "", "payload_encoding": "string"}
        refused = [
            await client.post(f"{queue}/get", json=get),
            await client.post("/api/exchanges/%2F/shotwatch.work/publish", json=message),
            await client.delete(queue),
            await client.put("/api/users/monitor", json={"password": "x", "tags": "administrator"}),
            await client.get("/api/definitions"),
            await client.get("/api/users"),
        ]
    assert [answer.status_code for answer in refused if answer.status_code < 400] == []


async def test_the_exchange_of_an_older_version_is_replaced_and_no_message_is_lost(url: Url):
    topology = Topology("old-")
    async with await aio_pika.connect(url("tester")) as connection:
        await topology.declare(connection)
        async with connection.channel() as channel:
            await channel.exchange_delete(topology.work.name)
            work = await channel.declare_exchange(topology.work.name, "direct", durable=True)
            own = await channel.get_queue(topology.queue_of("validate").name)
            await own.bind(work, "validate")
            await work.publish(aio_pika.Message(b"before"), "validate")
        await topology.declare(connection)
        async with connection.channel() as channel:
            work = await channel.declare_exchange(topology.work.name, "topic", durable=True)
            await work.publish(aio_pika.Message(b"after"), "validate")
            own = await channel.get_queue(topology.queue_of("validate").name)
            bodies = [(await own.get(no_ack=True)).body for _ in range(2)]
            for each in topology.queues:
                await channel.queue_delete(each.name)
    assert bodies == [b"before", b"after"]


def management(url: Url, node: Node) -> httpx.AsyncClient:
    """Return a client of RabbitMQ's management API, as the account `monitor`.

    It opens a connection for each request: the server may close one after it has refused a request.
    """
    where = urlsplit(url("monitor"))
    return httpx.AsyncClient(
        base_url=node.management_url,
        auth=(where.username or "", where.password or ""),
        limits=httpx.Limits(max_keepalive_connections=0),
    )


async def next_message(url: Url, queue: str) -> bytes:
    """The body of the next message in the queue."""
    async with channel_to(url("tester")) as channel:
        found = await channel.get_queue(f"shotwatch.{queue}", ensure=False)
        bodies: list[bytes] = []

        async def came() -> bool:
            message = await found.get(no_ack=True, fail=False)
            bodies.extend([message.body] if message else [])
            return bool(bodies)

        await until(came, f"a message in {queue}")
        return bodies[0]


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[AbstractChannel]:
    async with connection_to(address) as connection:
        yield await connection.channel()
