"""The embedded stack, started once for all integration tests and stopped after the last of them."""

import asyncio
import os
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from opentelemetry.sdk.trace import TracerProvider
from pymongo import AsyncMongoClient

from shotwatch_cli.deployment import settings_of
from shotwatch_cli.uploads import planned_uploads, upload_all
from shotwatch_common.archive import Archive
from shotwatch_common.bus import Bus, OnDeadLetter, ServersAnswer
from shotwatch_common.facility_file import load_facility
from shotwatch_common.settings import BrokerSettings
from shotwatch_common.store import ObjectStore
from shotwatch_common.telemetry import configure_logs
from shotwatch_embedded.forks import NO_THREADS
from shotwatch_embedded.install import ensure_rabbitmq
from shotwatch_embedded.ports import LOOPBACK
from shotwatch_embedded.private import private_files
from shotwatch_embedded.servers.broker import SCRIPT
from shotwatch_embedded.servers.probes import opens_channel
from shotwatch_embedded.services import ServiceSpec, path_services
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import Role
from shotwatch_shots.facility import Facility
from tests.broker import TOPOLOGY, admit_tester, as_tester, controllable_broker
from tests.facilities import facility_waiting
from tests.installing import alone
from tests.integration.certificates import Certificates
from tests.ports import PORTS

from .commands import CommandServer
from .processes import running as running_process
from .prometheus import Prometheus, Targets, started
from .query_world import World, started_world
from .recorder import recording_as
from .waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "deploy" / "prometheus" / "rules" / "shotwatch.yml"
TWO_OF_MOST = {"ingest": 2, "aggregate": 2, "features": 2, "inference": 2}
IMPATIENT = {
    "SHOTWATCH_TREND_POLL_SECONDS": "5",
    "SHOTWATCH_DRIFT_POLL_SECONDS": "2",
    "SHOTWATCH_REFERENCE_POLL_SECONDS": "5",
    "SHOTWATCH_CALIBRATION_POLL_SECONDS": "2",
}
"""Each of history's checks reads the data of all places, while other tests want the database."""
FAULTS = "faults"
"""The folder of a stack in which fault points are armed."""
FOREVER_MS = 2**53
LATENESS_S = {"1s": 5, "100ms": 5, "60s": 5}
"""What never comes is waited for until then."""


def impatient(service: ServiceSpec) -> ServiceSpec:
    """The service, polling every few seconds instead of now and then, and recorded."""
    environment = {**service.environment, **IMPATIENT, **recording_as(service.name)}
    return replace(service, environment=environment)


def breakable(service: ServiceSpec, faults: Path) -> ServiceSpec:
    """The service, which dies where a fault point is armed in a folder."""
    return replace(service, environment={**service.environment, "SHOTWATCH_FAULTS": str(faults)})


@dataclass(frozen=True, slots=True)
class Running:
    """A stack with all services ready, and ways into it; `settings` name the broker's account for tests."""

    stack: Stack
    settings: BrokerSettings
    facility: Facility
    store: ObjectStore
    archive: Archive
    commands: CommandServer | None = None
    """What runs `shotwatch`; None where no test gives a command."""

    async def upload(self, *paths: Path) -> None:
        uploads = planned_uploads(paths)
        await upload_all(self.store, self.settings.inbox_bucket, uploads, lambda _: None)

    async def judged(self) -> None:
        """Wait until the inbox is empty, nothing waits, no window is open and every shot is judged."""
        await until(self._at_rest, "everything judged")

    async def _at_rest(self) -> bool:
        """Ask along the path, so that nothing slips by; a window is mostly what is waited for."""
        return (
            not await self.archive.windows.unfinished()
            and not [found async for found in self.store.list(self.settings.inbox_bucket)]
            and not (await self.archive.ledger.tally(0, FOREVER_MS)).states["waiting"]
            and not await self.archive.ledger.unjoined()
            and not await self.archive.windows.unfinished()
            and not await self.archive.batches.unjudged()
        )


async def alter_object(running: Running, object_id: str, **fields: object) -> None:
    """Change fields of an object's document directly, as no service does."""
    async with AsyncMongoClient(running.settings.database_url.get_secret_value()) as client:
        objects = client[running.settings.database_name]["objects"]
        await objects.update_one({"_id": object_id}, {"$set": fields})


@pytest.fixture(scope="session", autouse=True)
def _rabbitmq() -> None:
    with alone():
        ensure_rabbitmq(install=True)


@pytest.fixture(scope="package")
def broker_metrics_port() -> int:
    """Where the stack's broker answers /metrics, as Compose's does."""
    return PORTS.take()


@pytest.fixture(scope="package")
async def running(
    tmp_path_factory: pytest.TempPathFactory, broker_metrics_port: int
) -> AsyncIterator[Running]:
    root = tmp_path_factory.mktemp("stacks")
    facility = facility_waiting(LATENESS_S, root)
    claimed = Stack.claim(root, "tests", facility=facility, settings={})
    show_broker_metrics(claimed.folder / "broker", broker_metrics_port)
    admit_tester(claimed.folder / "broker")
    async with claimed as stack:
        faults = stack.folder / FAULTS
        faults.mkdir(mode=0o700)
        stack.start_services(breakable(impatient(each), faults) for each in path_services(TWO_OF_MOST))
        await stack.services_ready()
        variables = stack.environment()
        settings = settings_of(
            variables | {"SHOTWATCH_BROKER_URL": as_tester(variables["SHOTWATCH_BROKER_URL"])}
        )
        with CommandServer({**os.environ, **NO_THREADS, **recording_as("engineer")}) as commands:
            async with ObjectStore.of(settings) as store, Archive.of(settings) as archive:
                yield Running(stack, settings, load_facility(facility), store, archive, commands)


def show_broker_metrics(folder: Path, port: int) -> None:
    """Have the broker of that folder report metrics of each queue, on loopback."""
    with private_files():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "enabled_plugins").write_text("[rabbitmq_prometheus].\n")
        (folder / "advanced.config").write_text(
            "[{rabbitmq_prometheus, [{return_per_object_metrics, true}, "
            f'{{tcp_config, [{{ip, "{LOOPBACK}"}}, {{port, {port}}}]}}]}}].\n'
        )


def scrape_targets(stack: Stack) -> Targets:
    """Service → the ports of its replicas."""
    ports: defaultdict[str, list[int]] = defaultdict(list)
    for process in stack.status():
        if process.role is Role.SERVICE:
            ports[process.name.rpartition("-")[0]].append(process.port)
    return ports


@pytest.fixture(scope="package")
async def prometheus(
    running: Running, broker_metrics_port: int, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Prometheus]:
    """Debian's Prometheus, which scrapes the services and the broker; jobs are named as in Compose."""
    targets = {**scrape_targets(running.stack), "broker": [broker_metrics_port]}
    async with started(tmp_path_factory.mktemp("prometheus"), targets, RULES) as server:
        await until(server.ready, "Prometheus is ready")
        await until(server.sees_all, "Prometheus scrapes every service")
        yield server


Url = Callable[[str], str]


_TLS = """\
listeners.ssl.default = 127.0.0.1:{port}
ssl_options.cacertfile = {authority}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
"""


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="package")
def tls_port() -> int:
    return PORTS.take()


@dataclass(frozen=True, slots=True)
class Node:
    """A broker by itself."""

    url: Url
    management_url: str
    environment: Mapping[str, str]

    async def ctl(self, *arguments: str, given: str = "") -> str:
        """What `rabbitmqctl` answers to these arguments, and to what is given on its standard input."""
        process = await asyncio.create_subprocess_exec(
            str(SCRIPT.with_name("rabbitmqctl")),
            *("--quiet", *arguments),
            env=dict(self.environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        stdout, _ = await process.communicate(given.encode())
        assert process.returncode == 0, arguments
        return stdout.decode()


@pytest.fixture(scope="package")
async def node(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, tls_port: int
) -> AsyncIterator[Node]:
    """A broker as the embedded stack starts it, with TLS, the management API and `rabbitmqctl`, declared."""
    folder = tmp_path_factory.mktemp("broker")
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    server = controllable_broker(folder, "a secret", PORTS)
    admit_tester(folder)
    with (folder / "rabbitmq.conf").open("a") as configuration:
        configuration.write(_TLS.format(port=tls_port, **asdict(certificates)))
    management = re.search(r"management\.tcp\.port = (\d+)", (folder / "rabbitmq.conf").read_text())
    assert management is not None
    addresses = {name: variables["SHOTWATCH_BROKER_URL"] for name, variables in server.accounts.items()}
    addresses["tester"] = as_tester(addresses["setup"])
    with running_process(server.command, server.environment):
        await until(lambda: opens_channel(addresses["setup"]), "a broker that takes connections")
        await declare(addresses.__getitem__)
        yield Node(addresses.__getitem__, f"http://{LOOPBACK}:{management[1]}", server.environment)


@pytest.fixture(scope="package")
def url(node: Node) -> Url:
    """Account → its address at that broker; `tester` may do anything there."""
    return node.url


async def declare(url: Url) -> None:
    """Run the broker's set-up."""
    async with await aio_pika.connect(url("setup")) as connection:
        await TOPOLOGY.declare(connection)


async def all_answer() -> bool:
    return True


async def ignore_dead_letter(_stage: str, _body: bytes, _reason: str) -> None:
    return None


def bus_to(
    address: str,
    servers_answer: ServersAnswer = all_answer,
    on_dead_letter: OnDeadLetter = ignore_dead_letter,
    **more: Any,
) -> Bus:
    log = configure_logs("test")
    return Bus(address, TOPOLOGY, TracerProvider(), log, on_dead_letter, servers_answer, **more)


@pytest.fixture(scope="package")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The REST API alone, with two places' shots behind it."""
    async with started_world(tmp_path_factory.mktemp("query")) as world:
        yield world
