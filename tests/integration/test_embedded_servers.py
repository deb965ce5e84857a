"""The embedded servers: each does its work, keeps what it was given, and stands beside others."""

import asyncio
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import httpx
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel
from mlflow import MlflowClient
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.errors import OperationFailure
from yarl import URL

from shotwatch_common.archive import Archive
from shotwatch_common.store import ObjectStore
from shotwatch_embedded.description import find_stack
from shotwatch_embedded.processes import processes
from shotwatch_embedded.stack import Stack
from shotwatch_embedded.status import Role, State, Status
from shotwatch_operations.api_keys import ApiKey
from shotwatch_shots.errors import Retry
from tests.broker import admit_tester, as_tester, log_in

from .processes import ports_of
from .strangers import (
    bound_by_a_stranger,
    open_to_others,
    readable_by_a_stranger,
    registered_by_a_stranger,
    require_a_stranger,
)

URLS = (
    "SHOTWATCH_BROKER_URL",
    "SHOTWATCH_DATABASE_URL",
    "SHOTWATCH_STORE_URL",
    "SHOTWATCH_MODELS_URL",
)
OTHERS = {
    "SHOTWATCH_DATABASE_URL": "mongodb://nobody",
    "SHOTWATCH_STORE_URL": "http://nobody",
    "SHOTWATCH_STORE_ACCESS_KEY": "nobody",
    "SHOTWATCH_STORE_SECRET_KEY": "nobody",
    "SHOTWATCH_MODELS_URL": "http://nobody",
}
"""With these settings, a stack starts the broker alone."""
EPMD = 4369
"""The port of the epmd that all Erlang nodes of a machine share by default."""
DEADLINE = 60


@dataclass
class Restarts:
    """The servers that came back, as the stack reports them."""

    back: asyncio.Queue[Status] = field(default_factory=asyncio.Queue)
    while_down: Callable[[Status], None] | None = None
    """Called when a server has ended; the supervisor starts it again only once this has returned."""

    def __call__(self, status: Status) -> None:
        if status.state is State.RESTARTING and self.while_down:
            self.while_down(status)
        if status.state is State.READY and status.restarts:
            self.back.put_nowait(status)

    async def one(self) -> Status:
        async with asyncio.timeout(DEADLINE):
            return await self.back.get()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def restarts() -> Restarts:
    return Restarts()


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder that every user of the machine can enter; those of pytest are closed."""
    with TemporaryDirectory(prefix="shotwatch-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(root: Path, restarts: Restarts) -> AsyncIterator[Stack]:
    claimed = Stack.claim(root, facility=root / "f.yaml", settings={}, on_change=restarts)
    admit_tester(claimed.folder / "broker")
    async with claimed as started:
        yield started


def servers(stack: Stack) -> dict[str, Status]:
    return {status.name: status for status in stack.status() if status.role is Role.SERVER}


def signal_group(status: Status, number: signal.Signals) -> None:
    assert status.pid is not None
    os.killpg(status.pid, number)


async def publish(channel: AbstractChannel, queue: str, body: bytes) -> None:
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue)


async def take(stack: Stack, queue: str) -> bytes:
    async with await aio_pika.connect(as_tester(stack.environment()["SHOTWATCH_BROKER_URL"])) as connection:
        channel = await connection.channel()
        message = await (await channel.declare_queue(queue, durable=True)).get()
        await message.ack()
        return message.body


async def put(stack: Stack, queue: str, body: bytes) -> None:
    async with await aio_pika.connect(as_tester(stack.environment()["SHOTWATCH_BROKER_URL"])) as connection:
        channel = await connection.channel()
        await declare_on_disk(channel, queue)
        await publish(channel, queue, body)


async def declare_on_disk(channel: AbstractChannel, queue: str) -> None:
    """Declare a queue that is still there after the broker's death.

    RabbitMQ 3.10 can lose the queue that was declared last: that Mnesia has committed the declaration (its
    `decision` in LATEST.LOG) reaches the disk with the next transaction. So there is one more.
    """
    for name in (queue, f"{queue}.next"):
        await channel.declare_queue(name, durable=True)


def store_of(stack: Stack) -> ObjectStore:
    variables = stack.environment()
    return ObjectStore.at(
        variables["SHOTWATCH_STORE_URL"],
        variables["SHOTWATCH_STORE_ACCESS_KEY"],
        variables["SHOTWATCH_STORE_SECRET_KEY"],
    )


def database_of(stack: Stack) -> AsyncMongoClient[dict[str, object]]:
    return AsyncMongoClient(stack.environment()["SHOTWATCH_DATABASE_URL"])


def listening_hosts(port: int) -> set[str]:
    """The IPv4 addresses, as the kernel writes them, on which something listens on the port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listeners = [fields[1].split(":") for fields in lines if fields[3] == "0A"]
    return {host for host, listened in listeners if int(listened, 16) == port}


async def test_the_broker_gives_back_what_was_published(stack: Stack) -> None:
    await put(stack, "round", b"shot")
    assert await take(stack, "round") == b"shot"


async def test_the_broker_lets_no_stranger_in(stack: Stack) -> None:
    port = urlsplit(stack.environment()["SHOTWATCH_BROKER_URL"]).port
    with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
        await log_in(f"amqp://guest:guest@127.0.0.1:{port}/")


async def test_a_stranger_can_read_no_file_of_a_stack(stack: Stack, root: Path) -> None:
    assert readable_by_a_stranger(root) == [str(root)]
    assert open_to_others(stack.folder) == []


async def test_the_broker_listens_to_clients_alone(stack: Stack) -> None:
    """One packet of a stranger to the port for other nodes would end it."""
    started = servers(stack)["broker"]
    nodes = {pid for pid in processes(stack.folder) if os.getpgid(pid) == started.pid}
    assert ports_of(nodes) == {started.port}


async def test_the_database_lets_no_stranger_in(stack: Stack) -> None:
    async with AsyncMongoClient(address_with(stack, "")) as stranger:
        for attempt in (
            stranger["shotwatch"]["shots"].find_one,
            stranger.list_database_names,
            lambda: stranger["shotwatch"]["shots"].insert_one({}),
            lambda: stranger.admin.command("createUser", "mallory", pwd="p", roles=["root"]),
        ):
            with pytest.raises(OperationFailure, match="requires authentication"):
                await attempt()


async def test_the_database_reads_large_messages_after_the_login_alone(stack: Stack) -> None:
    where = urlsplit(stack.environment()["SHOTWATCH_DATABASE_URL"])
    with socket.create_connection((where.hostname, where.port), timeout=10) as stranger:
        stranger.sendall(head_of_message(bytes_in_all=64 * 1024 + 17))
        assert stranger.recv(1) == b""
    async with database_of(stack) as client:
        await client["shotwatch"]["large"].insert_one({"_id": "a", "bytes": bytes(1 << 20)})


def head_of_message(bytes_in_all: int) -> bytes:
    """Return the head of a message of MongoDB's protocol (OP_MSG)."""
    return struct.pack("<iiii", bytes_in_all, 1, 0, 2013)


@pytest.mark.parametrize("login", ["shotwatch:guess@", "root:guess@"])
async def test_the_database_lets_nobody_in_with_a_wrong_password(stack: Stack, login: str) -> None:
    async with AsyncMongoClient(address_with(stack, login)) as stranger:
        with pytest.raises(OperationFailure, match="authentication failed"):
            await stranger["shotwatch"]["shots"].find_one()


def address_with(stack: Stack, login: str) -> str:
    where = urlsplit(stack.environment()["SHOTWATCH_DATABASE_URL"])
    return f"mongodb://{login}{where.hostname}:{where.port}/"


async def test_the_services_account_cannot_make_others(stack: Stack) -> None:
    async with database_of(stack) as client:
        with pytest.raises(OperationFailure, match="not authorized"):
            await client.admin.command("createUser", "mallory", pwd="p", roles=["root"])


async def test_the_store_lets_no_stranger_in(stack: Stack) -> None:
    url = stack.environment()["SHOTWATCH_STORE_URL"]
    async with store_of(stack) as store, httpx.AsyncClient(base_url=url) as stranger:
        await store.put("errors", "secret", b"frames")
        for answer in (
            await stranger.get("/errors/secret"),
            await stranger.get("/errors?list-type=2"),
            await stranger.put("/errors/forged", content=b"forged"),
            await stranger.delete("/errors/secret"),
        ):
            assert (answer.status_code, "UnsupportedAlgorithm" in answer.text) == (400, True), answer.text
        for keys in (("guess", "guess"), (stack.environment()["SHOTWATCH_STORE_ACCESS_KEY"], "guess")):
            async with ObjectStore.at(url, *keys) as guesser:
                with pytest.raises(Retry, match=r"SignatureDoesNotMatch|InvalidAccessKeyId"):
                    await guesser.get("errors", "secret")
        assert [found.key async for found in store.list("errors")] == ["secret"]
        await store.remove("errors", "secret")


def opens(environment: Mapping[str, str], token: str | None) -> bool:
    """Whether the REST API of this environment lets the token in."""
    assert token is not None
    line = Path(environment["SHOTWATCH_QUERY_KEYS_FILE"]).read_text()
    return ApiKey.read(line).opens_with(token, datetime.now(UTC))


async def test_every_start_renews_the_secrets_and_nothing_is_lost(root: Path) -> None:
    def claim() -> Stack:
        models = {"SHOTWATCH_MODELS_URL": "http://nobody"}
        claimed = Stack.claim(root, "rotated", facility=root / "f.yaml", settings=models)
        admit_tester(claimed.folder / "broker")
        return claimed

    async with claim() as stack:
        await put(stack, "kept", b"a message")
        old = stack.environment()
        old_token = stack.describe().token
        async with database_of(stack) as client, store_of(stack) as store:
            await client["shotwatch"]["shots"].insert_one({"_id": "kept"})
            await store.put("data", "kept", b"frames")
    async with claim() as stack:
        new, new_token = stack.environment(), stack.describe().token
        async with database_of(stack) as client, store_of(stack) as store:
            assert await client["shotwatch"]["shots"].count_documents({}) == 1
            assert await store.get("data", "kept") == b"frames"
        assert await take(stack, "kept") == b"a message"
        database, broker = (
            str(URL(new[name]).with_password(URL(old[name]).password))
            for name in ("SHOTWATCH_DATABASE_URL", "SHOTWATCH_BROKER_URL")
        )
        async with AsyncMongoClient(database) as before:
            with pytest.raises(OperationFailure, match="authentication failed"):
                await before["shotwatch"]["shots"].find_one()
        with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
            await log_in(broker)
        keys = (old["SHOTWATCH_STORE_ACCESS_KEY"], old["SHOTWATCH_STORE_SECRET_KEY"])
        async with ObjectStore.at(new["SHOTWATCH_STORE_URL"], *keys) as before_it:
            with pytest.raises(Retry, match="InvalidAccessKeyId"):
                await before_it.get("data", "kept")
        assert opens(new, new_token)
        assert not opens(new, old_token)


async def test_the_database_gives_back_what_was_written(stack: Stack) -> None:
    async with database_of(stack) as client:
        shots = client["shotwatch"]["shots"]
        await shots.insert_one({"_id": "a shot", "energy": 1.5})
        assert await shots.find_one({"energy": {"$gt": 1}}) == {"_id": "a shot", "energy": 1.5}


async def test_the_database_has_its_indexes_before_any_service_starts(stack: Stack) -> None:
    async with Archive.at(stack.environment()["SHOTWATCH_DATABASE_URL"], "shotwatch") as archive:
        assert await archive.missing_indexes() == []


async def test_the_store_has_its_buckets_and_moves_objects_between_them(stack: Stack) -> None:
    async with store_of(stack) as store:
        await store.put("inbox", "a/file.h5", b"frames")
        await store.move(("inbox", "a/file.h5"), ("data", "2022-07-01/file.h5"))
        assert await store.get("data", "2022-07-01/file.h5") == b"frames"
        assert [found.key async for found in store.list("inbox")] == []
        for bucket in ("errors", "blocks"):
            assert [found.key async for found in store.list(bucket)] == []


async def test_the_model_server_keeps_runs_artifacts_and_the_champion(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", stack.environment()["SHOTWATCH_MODELS_USER"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", stack.environment()["SHOTWATCH_MODELS_PASSWORD"])

    def train() -> str:
        client = MlflowClient(stack.environment()["SHOTWATCH_MODELS_URL"])
        run = client.create_run(client.create_experiment("first"))
        client.log_metric(run.info.run_id, "loss", 0.25)
        weights = tmp_path / "weights.bin"
        weights.write_bytes(b"weights")
        client.log_artifact(run.info.run_id, str(weights))
        client.create_registered_model("detector")
        version = client.create_model_version("detector", f"{run.info.artifact_uri}", run.info.run_id)
        client.set_registered_model_alias("detector", "champion", version.version)
        champion = client.get_model_version_by_alias("detector", "champion")
        fetched = client.download_artifacts(str(champion.run_id), "weights.bin", str(tmp_path / ""))
        assert client.get_run(str(champion.run_id)).data.metrics == {"loss": 0.25}
        return Path(fetched).read_text()

    assert await asyncio.to_thread(train) == "weights"
    assert list((stack.folder / "models" / "artifacts").rglob("weights.bin"))


async def test_other_commands_find_the_stack_by_its_description(stack: Stack, root: Path) -> None:
    found = find_stack(root)
    assert found == stack.describe()
    assert found.pid == os.getpid()
    assert set(URLS) <= found.environment.keys()
    assert (stack.folder / "stack.json").stat().st_mode & 0o777 == 0o600


async def test_every_server_listens_on_the_loopback_interface_only(stack: Stack) -> None:
    for status in servers(stack).values():
        assert await asyncio.to_thread(listening_hosts, status.port) == {"0100007F"}


async def test_a_second_stack_beside_the_first_has_servers_and_data_of_its_own(
    stack: Stack, root: Path
) -> None:
    models = {"SHOTWATCH_MODELS_URL": stack.environment()["SHOTWATCH_MODELS_URL"]}
    claimed = Stack.claim(root, facility=root / "f.yaml", settings=models)
    admit_tester(claimed.folder / "broker")
    async with claimed as second:
        assert second.name == "default-2"
        assert "models" not in servers(second)
        assert second.environment()["SHOTWATCH_MODELS_URL"] == models["SHOTWATCH_MODELS_URL"]
        async with store_of(stack) as here, store_of(second) as there:
            await here.put("errors", "mine", b"")
            assert [found.key async for found in there.list("errors")] == []
            await here.remove("errors", "mine")
        await put(stack, "both", b"first")
        await put(second, "both", b"second")
        assert (await take(stack, "both"), await take(second, "both")) == (b"first", b"second")
    assert all(status.state is State.READY for status in servers(stack).values())


async def test_a_broker_that_ended_or_was_killed_comes_back_where_it_was_with_its_messages(
    stack: Stack, restarts: Restarts
) -> None:
    await put(stack, "kept", b"before its end")
    ended = servers(stack)["broker"]
    signal_group(ended, signal.SIGTERM)
    back = await restarts.one()
    assert (back.name, back.port, back.exit_code) == ("broker", ended.port, 0)
    await put(stack, "kept", b"before its death")
    signal_group(back, signal.SIGKILL)
    again = await restarts.one()
    assert (again.name, again.port, again.exit_code) == ("broker", ended.port, -signal.SIGKILL)
    assert [await take(stack, "kept") for _ in range(2)] == [b"before its end", b"before its death"]


async def test_a_killed_database_comes_back_with_every_acknowledged_write(
    stack: Stack, restarts: Restarts
) -> None:
    changes = [
        lambda kept: kept.insert_one({"_id": "inserted"}),
        lambda kept: kept.insert_many([{"_id": n} for n in range(3)]),
        lambda kept: kept.update_one({"_id": 0}, {"$set": {"changed": 1}}),
        lambda kept: kept.bulk_write([UpdateOne({"_id": "new"}, {"$set": {"changed": 2}}, upsert=True)]),
        lambda kept: kept.delete_one({"_id": 1}),
    ]
    expected: list[dict[str, Any]] = []
    async with database_of(stack) as client:
        kept = client["shotwatch"]["kept"]
        for change in changes:
            await change(kept)
            signal_group(servers(stack)["database"], signal.SIGKILL)
            assert (await restarts.one()).name == "database"
            expected.append(await kept.find({}, sort=[("_id", 1)]).to_list())
    assert [len(documents) for documents in expected] == [1, 4, 4, 5, 4]
    assert expected[2][0] == {"_id": 0, "changed": 1}
    assert {"_id": "new", "changed": 2} in expected[3]


@pytest.mark.parametrize("name", ["broker", "database", "store", "models"])
async def test_no_stranger_can_take_the_port_of_a_server_that_is_down(
    stack: Stack, restarts: Restarts, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Else clients that connect again would hand their passwords to the stranger."""
    require_a_stranger()
    ended = servers(stack)[name]
    ports = ports_of({pid for pid in processes(stack.folder) if os.getpgid(pid) == ended.pid})
    assert ended.port in ports
    taken: list[list[str]] = []
    try_all = lambda _status: taken.append(bound_by_a_stranger(*ports))  # noqa: E731
    monkeypatch.setattr(restarts, "while_down", try_all)
    signal_group(ended, signal.SIGKILL)
    back = await restarts.one()
    assert (back.name, back.port) == (name, ended.port)
    assert taken == [[]]


async def test_no_stranger_stops_the_broker_by_taking_its_name(root: Path) -> None:
    """Else whoever registers the name at an epmd that the broker uses keeps it from starting, or again."""
    with ExitStack() as strangers:
        restarts = Restarts()

        def take_the_name(status: Status) -> None:
            if status.name == "broker" and status.state in {State.STARTING, State.RESTARTING}:
                ports = ports_of(processes(root / "named")) | {EPMD}
                strangers.enter_context(registered_by_a_stranger("shotwatch", ports))
            restarts(status)

        claimed = Stack.claim(
            root, "named", facility=root / "f.yaml", settings=OTHERS, on_change=take_the_name
        )
        admit_tester(claimed.folder / "broker")
        async with claimed as stack:
            await put(stack, "kept", b"before its death")
            signal_group(servers(stack)["broker"], signal.SIGKILL)
            assert (await restarts.one()).name == "broker"
            assert await take(stack, "kept") == b"before its death"
