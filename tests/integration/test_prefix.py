"""Two systems with different prefixes on one broker, one database and one store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import aio_pika

from shotwatch_cli.broker import depth_of
from shotwatch_cli.deployment import settings_of
from shotwatch_cli.uploads import planned_uploads, upload_all
from shotwatch_common.archive import Archive
from shotwatch_common.store import ObjectStore
from shotwatch_common.topology import Topology
from shotwatch_embedded.services import path_services
from shotwatch_embedded.stack import Stack
from shotwatch_shots.place import ShotSeries
from shotwatch_shots.vocabulary import ObjectState
from shotwatch_simulator.simulation import Simulation, simulate
from tests.broker import TOPOLOGY

from .conftest import FOREVER_MS, Running, until

PREFIX = "other-"
SERVERS = ("DATABASE_URL", "STORE_URL", "STORE_ACCESS_KEY", "STORE_SECRET_KEY", "MODELS_URL")


async def test_two_systems_on_the_same_servers_see_nothing_of_each_other(
    running: Running, tmp_path: Path
) -> None:
    variables = running.stack.environment()
    shared = {f"SHOTWATCH_{name}": variables[f"SHOTWATCH_{name}"] for name in SERVERS}
    shared |= {"SHOTWATCH_BROKER_URL": running.settings.broker_url.get_secret_value()}
    shared |= {"SHOTWATCH_PREFIX": PREFIX}
    settings = settings_of(shared | {"SHOTWATCH_FACILITY": variables["SHOTWATCH_FACILITY"]})
    topology = Topology(settings.prefix)
    expected = running.facility.expected_devices(ShotSeries.parse("LA-FSD-00-1s"))
    assert expected is not None
    start, seconds = datetime(2024, 5, 1, 8, tzinfo=UTC), timedelta(seconds=2)
    files = list(simulate(Simulation(running.facility, (expected,), start, seconds), tmp_path / "files"))
    claimed = Stack.claim(tmp_path, "other", facility=running.settings.facility, settings=shared)
    async with (
        ObjectStore.of(settings) as store,
        Archive.of(settings) as archive,
        await aio_pika.connect(shared["SHOTWATCH_BROKER_URL"]) as connection,
        claimed as other,
    ):
        await topology.declare(connection)
        await store.ensure_buckets(*settings.buckets)
        await archive.ensure_indexes()
        other.start_services(spec for spec in path_services() if spec.name == "ingest")
        await other.services_ready()
        await upload_all(store, settings.inbox_bucket, planned_uploads(files), lambda _: None)

        async def ingested() -> bool:
            states = (await archive.ledger.tally(0, FOREVER_MS)).states
            return states[ObjectState.INGESTED] == len(files)

        await until(ingested, "ingested by the other system")

        async def waiting() -> bool:
            """A quorum queue counts a message a moment after it has confirmed it."""
            queues = topology.consumed_queues_of("validate")
            depths = [await depth_of(connection, queue.name) for queue in queues]
            return sum(depth.messages for depth in depths if depth is not None) == len(files)

        await until(waiting, "messages of all files in the other system's queues")
        assert await topology.missing(connection) == await TOPOLOGY.missing(connection) == []
        assert {found.key async for found in store.list(settings.data_bucket)} != set()
        async with connection.channel() as clearing:
            for queue in topology.queues:
                await clearing.queue_delete(queue.name)
    assert await running.archive.ledger.newest([file.name for file in files]) == []
    assert [f async for f in running.store.list(running.settings.data_bucket, f"{start:%Y-%m-%d}/")] == []
