"""The most memory that the broker uses for clients with read access to events who consume them badly.

    python -m tools.bench.readers

The script fills the stream of events to its limits. Then as many clients as the account `operator` may
connect begin with the first event, set the highest prefetch that a client can request, acknowledge nothing
and stop reading. The figures are for the broker that is installed here, as the embedded stack starts it.

The second part measures what RabbitMQ does not limit for any client that can log in, whatever its rights:
messages that are begun and not finished. It uses one connection of the account `monitor`, which has no
rights.
"""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import aio_pika
from pamqp import body, commands, header
from pamqp.common import FieldTable

from shotwatch_common.topology import Topology
from shotwatch_embedded.ports import Ports
from shotwatch_embedded.servers.broker import broker
from shotwatch_embedded.servers.probes import opens_channel
from shotwatch_operations.broker.accounts import OPERATOR_LIMITS
from tests.broker import admit_tester, as_tester
from tests.integration.processes import running
from tests.integration.raw_amqp import RawClient
from tests.integration.waiting import until

TOPOLOGY = Topology()
EVENT_BYTES, EVENTS = 2000, 4_000
SETTLE_S = 10
MIB = 1 << 20
UNFINISHED_MIB = 100


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ports = Ports()
        server = broker(Path(folder), "a secret", ports)
        admit_tester(Path(folder))
        urls = {name: environment["SHOTWATCH_BROKER_URL"] for name, environment in server.accounts.items()}
        with running(server.command, server.environment):
            await until(lambda: opens_channel(urls["setup"]), "a broker that takes connections")
            await measure(urls, Path(folder))


async def measure(urls: Mapping[str, str], folder: Path) -> None:
    started = monotonic()
    async with await aio_pika.connect(urls["setup"]) as connection:
        await TOPOLOGY.declare(connection)
    print(f"declared in {monotonic() - started:.2f} s")
    await fill(as_tester(urls["setup"]))
    await asyncio.sleep(SETTLE_S)
    pid = beam_of(folder)
    idle = resident_mib(pid)
    print(f"stream on disk {stream_mib(folder):.0f} MiB; broker idle {idle:.0f} MiB")
    async with AsyncExitStack() as opened:
        for _ in range(OPERATOR_LIMITS["max-connections"]):
            client = await opened.enter_async_context(RawClient.connected(urls["operator"]))
            await client.ask(commands.Basic.Qos(prefetch_count=2**16 - 1))
            from_first: FieldTable = {"x-stream-offset": "first"}
            await client.ask(commands.Basic.Consume(queue=TOPOLOGY.events.name, arguments=from_first))
        peak = idle
        for _ in range(SETTLE_S * 10):
            peak = max(peak, resident_mib(pid))
            await asyncio.sleep(0.1)
        count = OPERATOR_LIMITS["max-connections"]
        print(f"{count} readers: peak {peak:.0f} MiB, then {resident_mib(pid):.0f} MiB")
        print(f"an event published meanwhile: {await publish_s(as_tester(urls['setup'])) * 1000:.0f} ms")
    await asyncio.sleep(SETTLE_S)
    before = resident_mib(pid)
    async with RawClient.connected(urls["monitor"]) as client:
        client.send(commands.Basic.Publish(exchange=TOPOLOGY.anomalies.name, routing_key="none"))
        client.send(header.ContentHeader(0, 5 * UNFINISHED_MIB * MIB, commands.Basic.Properties()))
        for _ in range(UNFINISHED_MIB * 10):
            client.send(body.ContentBody(bytes(MIB // 10)))
            await client.sent()
        await asyncio.sleep(SETTLE_S)
        print(f"{UNFINISHED_MIB} MiB of an unfinished message: {resident_mib(pid) - before:+.0f} MiB")


async def fill(address: str) -> None:
    message = aio_pika.Message(bytes(EVENT_BYTES), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    async with await aio_pika.connect(address) as connection:
        channel = await connection.channel()
        anomalies = await channel.get_exchange(TOPOLOGY.anomalies.name)
        for _ in range(EVENTS // 500):
            await asyncio.gather(*(anomalies.publish(message, "none") for _ in range(500)))


async def publish_s(address: str) -> float:
    """Return the seconds until the broker confirms an event."""
    async with await aio_pika.connect(address) as connection:
        channel = await connection.channel()
        anomalies = await channel.get_exchange(TOPOLOGY.anomalies.name)
        started = monotonic()
        await anomalies.publish(aio_pika.Message(b"an event"), "none")
        return monotonic() - started


def stream_mib(folder: Path) -> float:
    return sum(each.stat().st_size for each in folder.glob("data/*/stream/*/*") if each.is_file()) / MIB


def beam_of(folder: Path) -> int:
    """Return the process of the Erlang node that has this folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = str(folder).encode() in (process / "environ").read_bytes()
            if ours and b"beam.smp" in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:
            continue
    raise LookupError(f"no broker runs in {folder}")


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


if __name__ == "__main__":
    asyncio.run(main())
